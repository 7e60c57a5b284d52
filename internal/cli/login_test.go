package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/sandbox/oidc"
	"atoll.dev/atoll/internal/testfleet"
)

// signInDoor is the provider that the shared hub trusts.
var signInDoor door

type door struct {
	once     sync.Once
	provider *oidc.Provider
	dir      string
	err      error
}

func (d *door) close() error {
	if d.provider == nil {
		return nil
	}
	d.provider.Close()
	return os.RemoveAll(d.dir)
}

func (d *door) open() error {
	var err error
	if d.dir, err = os.MkdirTemp("", "atoll-sign-in-"); err != nil {
		return err
	}
	if d.provider, err = oidc.New(nil); err != nil {
		return err
	}
	config := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: %q, audiences: [%s], certificateAuthority: %q}
  claimMappings:
    username: {claim: name, prefix: "sso:"}
    groups: {claim: groups, prefix: ""}
`, d.provider.URL, oidc.ClientID, d.provider.CA)
	return os.WriteFile(filepath.Join(d.dir, "authentication.yaml"), []byte(config), 0o600)
}

// sharedHub is one for all tests of the package.
func sharedHub(t *testing.T) *testfleet.Fleet {
	t.Helper()
	signInDoor.once.Do(func() { signInDoor.err = signInDoor.open() })
	if signInDoor.err != nil {
		t.Fatal(signInDoor.err)
	}
	if inCluster {
		return testfleet.Shared(t, testfleet.Options{})
	}
	return testfleet.Shared(t, testfleet.Options{
		HubFlags: []string{"--authentication-config", filepath.Join(signInDoor.dir, "authentication.yaml")},
	})
}

// inCluster says that the hub's API is that of a cluster, which authenticates.
var inCluster = os.Getenv("ATOLL_E2E_STORAGE") == "kubernetes"

// home is a person's machine.
type home struct {
	t       *testing.T
	program string
	dir     string
}

func (h *home) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(h.t.Context(), h.program, args...)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "HOME" && !strings.HasSuffix(name, "KUBECONFIG") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+h.dir)
	return cmd
}

// run is what a command prints, and its exit code.
func (h *home) run(args ...string) (out, words string, code int) {
	h.t.Helper()
	cmd := h.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// must is what a command prints that is to succeed.
func (h *home) must(args ...string) string {
	h.t.Helper()
	out, words, code := h.run(args...)
	if code != 0 {
		h.t.Fatalf("atoll %s: exit %d\n%s%s", strings.Join(args, " "), code, out, words)
	}
	return out
}

// login runs a sign-in, and has person act on the first words that match.
func (h *home) login(asks *regexp.Regexp, person func(found string) error, args ...string) (words string, err error) {
	h.t.Helper()
	cmd := h.command(append([]string{"login"}, args...)...)
	told, err := cmd.StderrPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	var lines []string
	acted := error(nil)
	for scanner := bufio.NewScanner(told); scanner.Scan(); {
		lines = append(lines, scanner.Text())
		if m := asks.FindStringSubmatch(scanner.Text()); m != nil {
			acted = errors.Join(acted, person(m[1]))
		}
	}
	return strings.Join(lines, "\n"), errors.Join(cmd.Wait(), acted)
}

var (
	asksBrowser = regexp.MustCompile(`^(https://\S+/authorize\S+)$`)
	asksDevice  = regexp.MustCompile(`type the code (\S+)`)
)

// TestAPersonSignsInAndAProgramGetsAToken is a day with a hub, from nothing but
// its URL and the fingerprint of its authority.
func TestAPersonSignsInAndAProgramGetsAToken(t *testing.T) {
	if os.Getenv(liveHub) != "" || inCluster {
		t.Skip("the hub that is given trusts no provider of ours")
	}
	fleet := sharedHub(t)
	program, err := testfleet.Program("atoll")
	if err != nil {
		t.Skip(err)
	}
	h := &home{t: t, program: program, dir: t.TempDir()}
	hub, provider := "https://"+fleet.Hub.API, signInDoor.provider
	provider.Person(map[string]any{"name": "ada", "groups": []string{"web"}})

	_, words, code := h.run("login", hub, "--no-browser")
	fingerprint := regexp.MustCompile(`([0-9A-F]{2}:){31}[0-9A-F]{2}`).FindString(words)
	if code != 2 || fingerprint == "" {
		t.Fatalf("a hub of an unknown authority: exit %d\n%s", code, words)
	}
	browse := provider.SignIn
	if words, err := h.login(asksBrowser, browse, hub, "--no-browser", "--ca-fingerprint", fingerprint); err != nil {
		t.Fatalf("sign in: %v\n%s", err, words)
	}
	if out := h.must("whoami"); !strings.Contains(out, "sso:ada") || !strings.Contains(out, "web") || !strings.Contains(out, "is then renewed") {
		t.Errorf("whoami:\n%s", out)
	}
	// kubectl comes by the same context.
	if out := h.must("kubectl", "--", "auth", "whoami"); !strings.Contains(out, "sso:ada") {
		t.Errorf("kubectl auth whoami:\n%s", out)
	}
	h.mayOnlyWhatARuleSays(fleet)
	// The role that is meant when nothing is said.
	h.must("token", "create", "dev", "-p", "signin", "--kubeconfig", fleet.Hub.Kubeconfig())
	h.must("token", "revoke", "dev", "-p", "signin", "--kubeconfig", fleet.Hub.Kubeconfig())
	h.givesAToken(fleet)

	// A second sign-in, on another device and under another name.
	approve := func(code string) error {
		if !provider.Approve(code) {
			return fmt.Errorf("nobody waits for the code %s", code)
		}
		return nil
	}
	if words, err := h.login(asksDevice, approve, hub, "--device", "--name", "second", "--ca-fingerprint", fingerprint); err != nil {
		t.Fatalf("sign in on another device: %v\n%s", err, words)
	}
	if n := provider.Sessions(); n != 2 {
		t.Errorf("%d sessions with the provider, not two", n)
	}
	h.must("logout")
	h.must("logout", "--context", strings.TrimPrefix(hub, "https://"))
	if n := provider.Sessions(); n != 0 {
		t.Errorf("%d sessions with the provider after the last logout", n)
	}
	if left, err := filepath.Glob(filepath.Join(h.dir, ".atoll", "sessions", "*.json")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}

	// What the hub does not take is not kept.
	provider.Person(map[string]any{"name": "eve", "groups": []string{"system:masters"}})
	words, err = h.login(asksBrowser, browse, hub, "--no-browser", "--ca-fingerprint", fingerprint)
	if err == nil || !strings.Contains(words, "does not take its token") {
		t.Errorf("eve: %v\n%s", err, words)
	}
	if n := provider.Sessions(); n != 0 {
		t.Errorf("%d sessions with the provider that nobody keeps", n)
	}
	config, err := clientcmd.LoadFromFile(filepath.Join(h.dir, ".atoll", "config"))
	if err != nil || len(config.Contexts)+len(config.AuthInfos)+len(config.Clusters) > 0 {
		t.Errorf("the kubeconfig after all: %+v, %v", config, err)
	}
}

// testRole is what a person who signed in is given in the project.
const testRole = "signs-in"

func (h *home) mayOnlyWhatARuleSays(fleet *testfleet.Fleet) {
	t := h.t
	t.Helper()
	fleet.Project("signin")
	c := fleet.Hub.Client()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: testRole}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"atoll.dev"}, Resources: []string{"applications"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts", "serviceaccounts/token"}, Verbs: []string{"*"}},
		{APIGroups: []string{"rbac.authorization.k8s.io"}, Resources: []string{"rolebindings"}, Verbs: []string{"*"}},
	}}
	if err := c.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Delete(context.Background(), role) }) // the hub may have ended
	if out, words, code := h.run("can-i", "list", "apps", "-p", "signin"); code != 1 || out != "no\n" || !strings.Contains(words, "no rule lets you list applications.atoll.dev in project signin") {
		t.Errorf("can-i before: exit %d\n%s%s", code, out, words)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "signin"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: testRole},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "web"}},
	}
	if err := c.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	testfleet.Eventually(t, "the rule counts", func(context.Context) error {
		out, words, code := h.run("can-i", "list", "apps", "-p", "signin")
		if code != 0 || out != "yes\n" || !strings.Contains(words, testRole) {
			return fmt.Errorf("exit %d\n%s%s", code, out, words)
		}
		return nil
	})
	for _, refused := range [][]string{{"delete", "apps"}, {"list", "app", "-p", "default"}, {"create", "clusters"}, {"get", "/metrics"}} {
		if out, words, code := h.run(append([]string{"can-i"}, refused...)...); code != 1 {
			t.Errorf("can-i %q: exit %d\n%s%s", refused, code, out, words)
		}
	}
}

// givesAToken has a person give a program what they have, and not more.
func (h *home) givesAToken(fleet *testfleet.Fleet) {
	t := h.t
	t.Helper()
	if _, words, code := h.run("token", "create", "ci", "-p", "signin", "--role", "cluster-admin"); code != 2 || !strings.Contains(words, "attempting to grant RBAC permissions not currently held") {
		t.Errorf("a token with more than one has: exit %d\n%s", code, words)
	}
	if out := h.must("token", "list", "-p", "signin", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("left behind by the refused one: %s", out)
	}
	file := filepath.Join(h.dir, "ci.kubeconfig")
	if err := os.WriteFile(file, []byte(h.must("token", "create", "ci", "-p", "signin", "--role", testRole, "--ttl", "1h", "-o", "kubeconfig")), 0o600); err != nil {
		t.Fatal(err)
	}
	ci := []string{"--kubeconfig", file}
	who := func() (string, int) {
		out, words, code := h.run(append([]string{"whoami"}, ci...)...)
		return out + words, code
	}
	testfleet.Eventually(t, "the token counts", func(context.Context) error {
		if out, code := who(); code != 0 || !strings.Contains(out, "system:serviceaccount:signin:token-ci") {
			return fmt.Errorf("exit %d: %s", code, out)
		}
		return nil
	})
	testfleet.Eventually(t, "the token has its role", func(context.Context) error {
		if out, words, code := h.run(append([]string{"can-i", "list", "apps"}, ci...)...); code != 0 {
			return fmt.Errorf("exit %d: %s%s", code, out, words)
		}
		return nil
	})
	if out := h.must("token", "list", "-p", "signin"); !strings.Contains(out, "ci") || !strings.Contains(out, testRole) {
		t.Errorf("token list:\n%s", out)
	}
	if _, words, code := h.run("token", "create", "ci", "-p", "signin", "--role", testRole); code != 2 || !strings.Contains(words, "already") {
		t.Errorf("a second token of the name: exit %d\n%s", code, words)
	}
	h.must("token", "revoke", "ci", "-p", "signin")
	testfleet.Eventually(t, "the token ends", func(context.Context) error {
		if out, code := who(); code != 2 || !strings.Contains(out, "does not know you") {
			return fmt.Errorf("exit %d: %s", code, out)
		}
		return nil
	})
}
