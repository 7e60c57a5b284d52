package bench_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"atoll.dev/atoll/internal/bench"
)

// repository is the memory of a hub, and of the processes that render for it,
// while it fetches a repository of ten thousand files and renders all of them:
// half are plain manifests, half templates of charts, in twenty folders. Each
// yields an object of about 2 KB.
func repository(b *bed) {
	const folders = 20
	l := newLight(b)
	perFolder := size(10000, 2000) / folders
	folder := func(i int) string { return fmt.Sprintf("apps/%d", i) }
	files := map[string]string{}
	for i := range folders {
		chart := i%2 == 1
		for n := range perFolder {
			name := fmt.Sprintf("item-%d-%d", i, n)
			switch {
			case chart && n == 0:
				files[folder(i)+"/Chart.yaml"] = fmt.Sprintf("apiVersion: v2\nname: chart-%d\nversion: 1.0.0\n", i)
			case chart:
				files[folder(i)+"/templates/"+name+".yaml"] = large(name, "{{ .Release.Name }}")
			default:
				files[folder(i)+"/"+name+".yaml"] = large(name, "plain")
			}
		}
	}
	commit, err := l.repo.Commit("ten thousand files", files)
	b.must(err)
	time.Sleep(quiet)
	before, _, err := bench.FamilyMemory(l.hub.PID())
	b.must(err)
	began := time.Now()
	stop := l.sample()
	l.follow(folders, folder, time.Hour)
	l.until("all to be in sync", func(ctx context.Context) error { return inSync(ctx, l.hub.Client, commit, folders, 1) })
	took := time.Since(began)
	most := stop()
	time.Sleep(idle)
	after, renderers, err := bench.FamilyMemory(l.hub.PID())
	b.must(err)
	b.report(bench.Result{
		Name: repositoryFigure, Value: most.all, Unit: "MB", Aim: "< 500 MB",
		Notes: map[string]float64{
			"files": float64(len(files)), "before": before.Private, "beforeFiles": before.Files, "hubAtMost": most.hub, "renderersAtMost": most.renderers,
			"after": after.Private + renderers, "afterFiles": after.Files, "seconds": took.Seconds(),
		},
	})
}

// large is a ConfigMap of about 2 KB.
func large(name, who string) string {
	lines := &strings.Builder{}
	for n := range 40 {
		fmt.Fprintf(lines, "  setting-%02d: \"of %s, written out in full\"\n", n, who)
	}
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata:\n%s", name, lines)
}

// peak is the most memory that was seen, in MB.
type peak struct{ all, hub, renderers float64 }

// sample looks at the memory a few times a second until the end, which tells it.
func (l *light) sample() (end func() peak) {
	var most peak
	ended := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			own, renderers, err := bench.FamilyMemory(l.hub.PID())
			if err != nil {
				l.t.Error(err)
				return
			}
			most.all, most.hub, most.renderers = max(most.all, own.Private+renderers), max(most.hub, own.Private), max(most.renderers, renderers)
			select {
			case <-ended:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return func() peak {
		close(ended)
		looking.Wait()
		return most
	}
}

func writeFile(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
