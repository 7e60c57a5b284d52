package rollout_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

func TestAFrozenRolloutStandsWhereItIsAndGoesOnAfterTheThaw(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{OnFailure: v1alpha1.Rollback, Waves: []v1alpha1.Wave{{Count: number(1), Soak: soak(time.Minute)}, {Share: "100%"}}}, fleet(4))
	s.step()
	s.after(time.Second)
	s.note("atoll freeze --all")
	s.frozen = "everything is frozen by anna: release week"
	s.step()
	s.after(24 * time.Hour)
	s.note("the canary is well; no time of the freeze is soaking, none is beyond the deadline")
	s.pass("c01")
	s.step()
	s.note("atoll thaw --all")
	s.frozen = ""
	s.step()
	s.after(time.Minute)
	s.step()
	s.after(time.Second)
	s.note("frozen again, and one crashes: nobody is told to go back")
	s.frozen = "project shop is frozen: audit"
	s.fail("it crashes", "c02")
	s.pass("c03", "c04")
	s.step()
	s.after(time.Hour)
	s.step()
	s.note("thawed: it counts from now")
	s.frozen = ""
	s.step()
	s.after(rollout.Confirm)
	s.step()
	s.after(time.Second)
	s.note("frozen while it goes back: it stays told so, and is not through")
	s.frozen = "application shop is frozen: let me look"
	s.set(rollout.Member{Connected: true, Passed: true}, "c01", "c02", "c03", "c04")
	s.step()
	s.after(time.Hour)
	s.frozen = ""
	s.step()
	s.golden("freeze")
}

func TestTheWidestFreezeInForceCounts(t *testing.T) {
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }
	all := &v1alpha1.Freeze{Reason: "all", By: "anna", Until: at(time.Hour)}
	project := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: v1alpha1.ProjectSpec{Freeze: &v1alpha1.Freeze{Reason: "audit", Until: at(0)}}}
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: v1alpha1.ApplicationSpec{Freeze: &v1alpha1.Freeze{Reason: "look"}}}
	for _, tc := range []struct {
		name      string
		hub       *v1alpha1.Freeze
		now       time.Duration
		why, thaw string
	}{
		{"everything", all, 0, "everything is frozen by anna until 2026-01-02 13:00 UTC: all", "atoll thaw --all"},
		{"that of everything is over, and the application's is not", all, time.Hour, "application web is frozen: look", "atoll thaw app/web -p shop"},
		{"the project's, before it is over", nil, -time.Second, "project shop is frozen until 2026-01-02 12:00 UTC: audit", "atoll thaw project/shop"},
	} {
		f := rollout.FrozenBy(tc.hub, project, app, noon.Add(tc.now))
		if f == nil || f.Why() != tc.why || f.Thaw != tc.thaw {
			t.Errorf("%s: %+v", tc.name, f)
		}
	}
	if left := rollout.FrozenBy(all, nil, app, noon).Left(noon); left != time.Hour {
		t.Errorf("it thaws in %s", left)
	}
	app.Spec.Freeze = nil
	if f := rollout.FrozenBy(nil, nil, app, noon); f != nil || f.Left(noon) != 0 {
		t.Errorf("nothing freezes it, and it is %+v", f)
	}
}

func TestAFreezeIsReadAsItWasStored(t *testing.T) {
	want := v1alpha1.Freeze{Reason: "sales", By: "anna", Since: &metav1.Time{Time: noon}, Until: &metav1.Time{Time: noon.Add(time.Hour)}}
	if diff := cmp.Diff(&want, rollout.ParseFreeze(rollout.FreezeData(want))); diff != "" {
		t.Error(diff)
	}
	// What cannot be read freezes until somebody thaws it.
	f := rollout.ParseFreeze(map[string]string{"until": "tomorrow"})
	if rollout.FrozenHub(f, noon.Add(1000*time.Hour)) == nil || f.Until != nil {
		t.Errorf("%+v", f)
	}
}
