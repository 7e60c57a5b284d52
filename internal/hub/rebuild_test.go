package hub

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/registry"
	"atoll.dev/atoll/internal/trust"
)

func TestAClusterThatIsTakenUpWaitsForAPersonAndStaysAwayOnceRemoved(t *testing.T) {
	b := hubOf(t)
	r := registry.New(b.client, b.client, v1alpha1.SystemNamespace)
	id := func(name string) trust.Enrolled {
		return trust.Enrolled{ClusterUID: "uid-" + name, Fingerprint: "key of " + name, SealingKey: "k"}
	}
	waits := func(name string) *v1alpha1.Cluster {
		t.Helper()
		known, err := r.Lookup(t.Context(), name)
		b.must(err)
		if known.Accepted || known.Identity == nil || known.Identity.Fingerprint != id(name).Fingerprint {
			t.Errorf("%s is known as %+v, %+v", name, known, known.Identity)
		}
		c := &v1alpha1.Cluster{}
		b.must(b.client.Get(t.Context(), client.ObjectKey{Name: name}, c))
		return c
	}
	var wg sync.WaitGroup
	for range 2 { // two agents of one member come at once
		wg.Go(func() {
			if err := r.TakeUp(t.Context(), "lost", id("lost")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c := waits("lost"); c.Annotations[v1alpha1.AnnotationUnconfirmed] != v1alpha1.UnconfirmedRebuilt || c.Spec.Owner == "" {
		t.Errorf("it is %+v", c)
	}

	b.register("declared", map[string]string{"stage": "production"})
	b.must(r.TakeUp(t.Context(), "declared", id("declared")))
	if c := waits("declared"); c.Labels["stage"] != "production" || c.Spec.Owner == "unknown" {
		t.Errorf("what was declared of it is now %+v", c)
	}

	b.must(b.client.Delete(t.Context(), b.cluster("lost")))
	b.eventually("a removed cluster stays away", func() error {
		err := r.TakeUp(t.Context(), "lost", id("lost"))
		if refused, ok := errors.AsType[*trust.Refused](err); !ok || refused.Reason != trust.Revoked {
			return errors.Join(errors.New("it is taken up again"), err)
		}
		return nil
	})
	if known, err := r.Lookup(t.Context(), "lost"); err != nil || known.Exists {
		t.Errorf("the removed cluster is there: %v", err)
	}
}

func TestKeysAreNeverMadeWhereAHubHadSome(t *testing.T) {
	for _, verb := range []string{"rebuild", "rotate-root"} {
		dir := t.TempDir()
		cmd := Command()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetErr(io.Discard)
		cmd.SetArgs([]string{verb, "--data-dir", t.TempDir(), "--keys", dir})
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "the hub's keys are not in "+dir) {
			t.Errorf("%s: %v", verb, err)
		}
		if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
			t.Errorf("%s made %v, %v", verb, made, err)
		}
	}
}
