package hub

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

// warnings are what the API said beside its answers.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func TestAProjectThatClaimsMoreExactlyTakesTheNamespaceAndNothingRunsElsewhereForIt(t *testing.T) {
	b := hubOf(t)
	b.project("claim")
	m := b.joined("claim-1", map[string]string{"test": "claim"})
	key := desired.Key{Project: "claim", Application: "claim-sub"}
	b.deploy("claim", "claim-sub", "test=claim", v1alpha1.Orphan) // into the namespace of its name
	m.until("the application", func(r desired.Root) bool { e, ok := r.Get(key); return ok && e.Namespace == "claim-sub" })
	m.reports(key, report.InSync, report.HealthHealthy)

	heard := &warnings{}
	config := rest.CopyConfig(b.config)
	config.WarningHandler = heard
	writer, err := client.New(config, client.Options{Scheme: b.client.Scheme()})
	b.must(err)
	sub := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "claim-sub"}}
	b.must(writer.Create(t.Context(), sub))
	if said := strings.Join(heard.said, "\n"); !strings.Contains(said, "project claim-sub owns from now on, of what project claim claims, claim-sub (project claim-sub), claim-sub-*") {
		t.Errorf("who made it was told %q", said)
	}

	ready := func(wants ...string) error {
		p := &v1alpha1.Project{}
		if err := b.client.Get(t.Context(), client.ObjectKey{Name: "claim"}, p); err != nil {
			return err
		}
		for _, want := range wants {
			if got := p.Status.Conditions[0].Message; !strings.Contains(got, want) {
				return fmt.Errorf("its status says %q", got)
			}
		}
		return nil
	}
	b.eventually("the loser's status tells", func() error { return ready("others own claim-sub (project claim-sub)") })
	b.eventually("what it delivers there is refused", func() error {
		for _, c := range b.app("claim", "claim-sub").Status.Conditions {
			if c.Type == v1alpha1.ConditionAccepted && c.Reason == "PolicyRefused" && strings.Contains(c.Message, "project claim-sub's") {
				return nil
			}
		}
		return fmt.Errorf("%+v", b.app("claim", "claim-sub").Status.Conditions)
	})
	m.until("what runs is kept", func(r desired.Root) bool { e, ok := r.Get(key); return ok && (e.Hold || e.Namespace == "claim-sub") })
	receipt, err := b.fleet.Upload(t.Context(), "claim", fleet.Upload{Files: []fleet.File{{Name: "x.yaml", Data: []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: claim-sub-y}}")}}})
	b.must(err)
	if len(receipt.Violations) != 1 {
		t.Errorf("an upload into it: %+v", receipt)
	}

	b.must(b.client.Delete(t.Context(), sub))
	b.eventually("the namespace is the first project's again", func() error {
		for _, c := range b.app("claim", "claim-sub").Status.Conditions {
			if c.Type == v1alpha1.ConditionAccepted && c.Status == metav1.ConditionTrue {
				return ready("namespace claim is there")
			}
		}
		return fmt.Errorf("%+v", b.app("claim", "claim-sub").Status.Conditions)
	})
}
