package apply

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

var settingsKind = schema.GroupKind{Kind: "ConfigMap"}

// toGo is an object that cannot be changed, of which the deletion is approved.
func (w order) toGo(app string) *object {
	en := w.deliver(app, "one", 1, rendering{objects: []rendered{thing(settingsKind, app, phase.Mark{})}})
	for _, o := range en.objects {
		o.rec, o.seen, o.attempted, o.remake = &record{ID: o.id, UID: "u", Accepted: 7}, true, true, true
		en.pruning.Deleted = 1
		return o
	}
	return nil
}

// TestWhatWasApprovedIsDeletedForWhatIsStillAskedFor, and not while the application
// is being withdrawn, or comes to be another.
func TestWhatWasApprovedIsDeletedForWhatIsStillAskedFor(t *testing.T) {
	w := newOrder(t)
	o := w.toGo("shop")
	if s := o.due(w.clock()); s != remake {
		t.Fatalf("approved, and its step is %v", s)
	}
	next := o.entry.want
	next.Content = "two"
	o.entry.renew(next, next.Digest())
	if s := o.due(w.clock()); s == remake {
		t.Error("another content is asked for, and it is deleted for the one before")
	}
	o = w.toGo("other")
	next = o.entry.want
	next.Withdrawn = true
	o.entry.renew(next, next.Digest())
	if s := o.due(w.clock()); s == remake {
		t.Error("its application is let go of, and it is deleted to be made anew")
	}
}

// TestWhatIsDeletedCountsThoughItsApprovalWasTakenBackMeanwhile, and is made however
// often that has to be tried.
func TestWhatIsDeletedCountsThoughItsApprovalWasTakenBackMeanwhile(t *testing.T) {
	w := newOrder(t)
	o, none := w.toGo("shop"), int32(0)
	o.entry.want.Policy.Retry = &desired.Retry{Limit: &none}
	o.tryAnew() // somebody had it applied once more while it was being deleted
	w.roomMade(o)
	if n := o.entry.pruning.Deleted; n != 1 || !w.unsaved[o.entry.want.Key] {
		t.Errorf("%d deletions are counted, of one", n)
	}
	o.seen, o.missing, o.recheck = true, true, false
	w.fail(o, recreate, outcome{problem: &report.Problem{Object: o.ref, Reason: "Invalid", Message: "no room"}})
	if now := w.clock(); o.due(now) != recreate || o.notBefore.IsZero() || o.spent() {
		t.Error("what was deleted to be made anew is given up")
	}
}

// TestWhatForbidsADeletionMayComeAfterItsApproval, which had to wait.
func TestWhatForbidsADeletionMayComeAfterItsApproval(t *testing.T) {
	live := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"shop","uid":"u"}}`
	member := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(live))
	}))
	defer member.Close()
	e, err := New(&rest.Config{Host: member.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.queue.Close()
	id := ID{Kind: "ConfigMap", Namespace: "shop", Name: "settings"}
	approved := job{step: remake, target: target{id: id, kind: configMaps}, object: object{id: id, ref: id.Ref("v1"), rec: &record{ID: id, UID: "u"}}}
	forbidden, paused := approved, approved
	forbidden.mayNotDelete = true
	paused.object.pause = drift.Pause{Until: time.Now().Add(time.Hour)}
	for why, j := range map[string]job{"the member forbids deletions": forbidden, "a pause holds": paused} {
		if out := e.makeRoom(t.Context(), j); out.madeRoom || !strings.Contains(out.spared, why) {
			t.Errorf("%s: %+v", why, out)
		}
	}
}
