// Package hostile_test attacks a real fleet: projects that reach beyond their
// bounds, developers who take what they were not given, and a hub that was
// taken over. Each attempt must be refused by the hub, and by the member
// again, which takes nothing on the hub's word.
package hostile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

// The members: two with agents, in two jurisdictions, and one that a hub of
// the tests' own takes over.
const (
	inEU = "eu-west-1"
	inUS = "us-east-1"
	lone = "lone"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testfleet.EndShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func world(t *testing.T) *testfleet.Fleet {
	t.Helper()
	join := func(name, jurisdiction string) testfleet.Cluster {
		return testfleet.Cluster{
			Spec: sandbox.ClusterSpec{Name: name},
			Join: []string{"--region", name, "--jurisdiction", jurisdiction, "--label", "stage=production", "--label", "in=" + jurisdiction},
		}
	}
	return testfleet.Shared(t, testfleet.Options{Clusters: []testfleet.Cluster{
		join(inEU, "eu"), join(inUS, "us"),
		{Spec: sandbox.ClusterSpec{Name: lone}, Mode: testfleet.Alone},
	}})
}

func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	testfleet.Eventually(t, what, ask)
}

// parse reads one object of YAML.
func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatalf("%v in %s", err, manifest)
	}
	return u
}

// absent fails when the object is in the cluster. A kind that is not served
// has no objects.
func absent(t *testing.T, c client.Client, u *unstructured.Unstructured) {
	t.Helper()
	found := u.DeepCopy()
	err := c.Get(t.Context(), client.ObjectKeyFromObject(u), found)
	if err == nil {
		t.Errorf("%s %s/%s was delivered", u.GetKind(), u.GetNamespace(), u.GetName())
	} else if !apierrors.IsNotFound(err) && !isNoKind(err) && !apierrors.IsMethodNotSupported(err) {
		t.Errorf("look for %s %s: %v", u.GetKind(), u.GetName(), err)
	}
}

func isNoKind(err error) bool { return strings.Contains(err.Error(), "no matches for kind") }

// refused fails unless err is a refusal that says so.
func refused(t *testing.T, what string, err error, says string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: allowed", what)
	case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), says):
		t.Errorf("%s: want Forbidden with %q, got %v", what, says, err)
	}
}

// cli runs atoll and wants an exit code and words on stderr.
func cli(t *testing.T, f *testfleet.Fleet, stdin string, code int, says string, args ...string) testfleet.Result {
	t.Helper()
	r := f.Hub.CLIWith(stdin, args...)
	if r.Code != code || !strings.Contains(r.Stderr, says) {
		t.Errorf("atoll %s: want exit %d and %q, got %s", strings.Join(args, " "), code, says, r)
	}
	return r
}

var errNotYet = errors.New("not yet")

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

const harmless = "{apiVersion: v1, kind: ConfigMap, metadata: {name: harmless}, data: {k: v}}"

// lineOf is the words of the line that begins with the first.
func lineOf(text, first string) []string {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == first {
			return words
		}
	}
	return nil
}
