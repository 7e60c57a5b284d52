package apply

import (
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// history keeps every state that is reported of an application until one is
// the end, or time is up.
func (w *world) history(app string, end func(report.State) bool) []report.State {
	var seen []report.State
	for late := time.After(patience); len(seen) == 0 || !end(seen[len(seen)-1]); {
		select {
		case <-w.engine.Changed():
			seen = append(seen, w.engine.States()[w.key(app)])
		case <-late:
			w.t.Errorf("%s of %s did not come to its end: %+v", app, w.project, seen)
			return seen
		}
	}
	return seen
}

// A member's authorizer hears of a new project's rights a moment after they
// were written, and refuses its first objects until then: sure to be seen when
// many projects are new at once.
func TestAFirstDeliveryIsNeverSaidToHaveFailed(t *testing.T) {
	var worlds []*world
	for range 24 {
		w := newWorld(t)
		worlds = append(worlds, w)
		w.deploy("shop", configMap("settings", "color", "blue")+"---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: $NS}\n"+deployment("web", "shop/web:1.0", 1))
	}
	seen := make(chan []report.State)
	for _, w := range worlds {
		go func() { seen <- w.history("shop", report.State.Well) }()
	}
	for range worlds {
		for _, s := range <-seen {
			if s.Sync == report.Failed {
				t.Errorf("a first delivery was said to have failed:\n%s", describeState(s))
			}
		}
	}
}

func TestARefusalThatLastsIsNamedAndFailsInTheEnd(t *testing.T) {
	w := newWorld(t)
	// Nobody may give rights that he lacks, and a project has none on nodes.
	w.deploy("shop", configMap("fine", "k", "v")+`---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: greedy, namespace: $NS}
rules: [{apiGroups: [""], resources: [nodes], verbs: [get]}]
`, func(e *desired.Entry) {
		e.Policy.Kinds = []v1alpha1.GroupKind{{Group: "rbac.authorization.k8s.io", Kind: "Role"}}
	})
	seen := w.history("shop", func(s report.State) bool { return s.Sync == report.Failed })
	last := seen[len(seen)-1]
	if p := find(last, "Forbidden"); p == nil || p.Object.Name != "greedy" || last.Applied != 1 {
		t.Error(describeState(last))
	}
	for _, s := range seen {
		if strings.Contains(s.Message, "1 of 2 objects applied; trying again: Role") && strings.Contains(s.Message, "Forbidden") {
			return
		}
	}
	t.Errorf("it was not said what is tried again: %s", describeState(seen[max(len(seen)-2, 0)]))
}
