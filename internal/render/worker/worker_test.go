package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/render/helm"
)

// The tests' own program is their worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Verb {
		os.Exit(Serve(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func pool(t *testing.T, o Options) *Pool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Command = []string{self, Verb}
	p := NewPool(o)
	t.Cleanup(p.Close)
	return p
}

// chart writes a chart with one template.
func chart(t *testing.T, template string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "templates/a.yaml": template} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var in = render.Inputs{Helm: helm.Options{Release: "shop", Values: []byte("name: given")}}

const good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Values.name }}'}\n"

func TestAWorkerAnswersAsTheLibraryDoes(t *testing.T) {
	p, dir := pool(t, Options{}), chart(t, good)
	out, err := p.Render(t.Context(), dir, in)
	if err != nil {
		t.Fatal(err)
	}
	if out.Type != render.Helm || out.Chart != "web" || len(out.Files) != 1 || !strings.Contains(string(out.Files[0].Data), "name: 'given'") {
		t.Errorf("got %+v", out)
	}
	if _, err := p.Render(t.Context(), chart(t, "{{ fail \"not so\" }}"), in); err == nil || !strings.Contains(err.Error(), "templates/a.yaml:1:3): not so") {
		t.Errorf("a failing chart gave %v", err)
	}
	other := chart(t, good)
	if err := os.WriteFile(filepath.Join(other, "Chart.yaml"), []byte("apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '>=9.9'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var unfit *class.Unfit
	if _, err := p.Render(t.Context(), other, in); !errors.As(err, &unfit) {
		t.Errorf("a chart for other clusters gave %v", err)
	}
	if p.Idle() != 1 {
		t.Errorf("two renders one after the other left %d workers", p.Idle())
	}
}

func TestWhatTakesTooMuchIsEndedAndSaidInWords(t *testing.T) {
	limits := Limits{CPU: 2 * time.Second, Memory: 192 << 20, Wall: time.Hour}
	tests := []struct{ name, template, want string }{
		{"a loop", "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}", "more than 2s of processor time"},
		{"growth", "{{ $s := \"0123456789\" }}{{ range until 40 }}{{ $s = printf \"%s%s\" $s $s }}{{ end }}{{ $s }}", "more than 192 MiB of memory"},
		{"a list without end", "{{ until 2000000000 | len }}", "more than 192 MiB of memory"},
		{"tpl of itself", "{{ define \"x\" }}{{ tpl (.x) . }}{{ end }}{{ template \"x\" (dict \"x\" \"{{ template \\\"x\\\" . }}\") }}", "more than"},
	}
	p := pool(t, Options{Limits: limits})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := p.Render(t.Context(), chart(t, tt.template), in)
			var fault *Fault
			if err == nil || errors.As(err, &fault) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v\nwant one with %q", err, tt.want)
			}
			if _, err := p.Render(t.Context(), chart(t, good), in); err != nil {
				t.Errorf("the next one: %v", err)
			}
		})
	}
}

func TestAliasesOfAliasesInValuesAreRefused(t *testing.T) {
	bomb := strings.Builder{}
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for _, n := range "123456789" {
		before := "a" + string(n-1)
		bomb.WriteString("a" + string(n) + ": &a" + string(n) + " [" + strings.Repeat("*"+before+",", 8) + "*" + before + "]\n")
	}
	with := in
	with.Helm.Values = []byte(bomb.String())
	if _, err := pool(t, Options{}).Render(t.Context(), chart(t, good), with); err == nil || !strings.Contains(err.Error(), "values: is not a map") {
		t.Errorf("got %v", err)
	}
}

func TestACallerThatGivesUpTakesItsWorkerAlong(t *testing.T) {
	p, dir := pool(t, Options{Size: 1}), chart(t, "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}")
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() {
		_, err := p.Render(ctx, dir, in)
		stopped <- err
	}()
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Render(t.Context(), chart(t, good), in); err != nil {
		t.Errorf("the turn was not given back: %v", err)
	}
	short := pool(t, Options{Limits: Limits{CPU: time.Hour, Wall: time.Millisecond}})
	if _, err := short.Render(t.Context(), dir, in); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("got %v", err)
	}
}

func TestAWorkerThatDiedIsNoFaultOfTheSource(t *testing.T) {
	p, dir := pool(t, Options{}), chart(t, good)
	if _, err := p.Render(t.Context(), dir, in); err != nil {
		t.Fatal(err)
	}
	if err := p.waiting[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err := p.Render(t.Context(), dir, in)
	var fault *Fault
	if !errors.As(err, &fault) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Render(t.Context(), dir, in); err != nil {
		t.Errorf("the next one: %v", err)
	}
	if _, err := p.Render(t.Context(), filepath.Join(dir, "nowhere"), in); !errors.As(err, &fault) {
		t.Errorf("a tree that is gone gave %v", err)
	}
}

func TestManyCallersShareFewWorkers(t *testing.T) {
	p, dir := pool(t, Options{Size: 2}), chart(t, good)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if _, err := p.Render(t.Context(), dir, in); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := p.Idle(); n < 1 || n > 2 {
		t.Errorf("%d workers are left", n)
	}
	p.Close()
	if _, err := p.Render(t.Context(), dir, in); err == nil || p.Idle() != 0 {
		t.Errorf("a closed pool rendered, or kept %d workers", p.Idle())
	}
}

func TestAWorkerYieldsToTheHub(t *testing.T) {
	p := pool(t, Options{})
	if _, err := p.Render(t.Context(), chart(t, good), in); err != nil {
		t.Fatal(err)
	}
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	workers, err := syscall.Getpriority(syscall.PRIO_PROCESS, p.waiting[0].cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if workers != max(own-lower, 1) {
		t.Errorf("its priority is %d, and the hub's %d", workers, own)
	}
}

func TestIdleWorkersEnd(t *testing.T) {
	p := pool(t, Options{Idle: time.Millisecond})
	if _, err := p.Render(t.Context(), chart(t, good), in); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); p.Idle() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("an idle worker is kept")
		}
	}
}
