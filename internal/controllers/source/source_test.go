package source

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func reconciler() *Reconciler {
	return &Reconciler{Now: func() time.Time { return now }, Spread: func(d time.Duration) time.Duration { return d }}
}

func following(every time.Duration) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "p", Name: "a", Generation: 1}}
	app.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://h/p"}
	if every > 0 {
		app.Spec.Source.Git.Interval = &metav1.Duration{Duration: every}
	}
	return app
}

func TestAFailedLookIsRepeatedSoonAndThenLessOften(t *testing.T) {
	failed, refused, good := &outcome{}, &outcome{lasting: true}, &outcome{condition: assign.Condition{True: true}}
	for name, c := range map[string]struct {
		every time.Duration
		looks []*outcome
		want  []time.Duration
	}{
		"by default": {0, []*outcome{good, failed, failed, failed, failed, failed, good, failed},
			[]time.Duration{time.Minute, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute, time.Minute, 10 * time.Second}},
		"of one that is asked often":   {10 * time.Second, []*outcome{good, failed, failed, failed, failed}, []time.Duration{10 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute}},
		"of one that is asked rarely":  {time.Hour, []*outcome{failed, good}, []time.Duration{10 * time.Second, time.Hour}},
		"a refused commit is no haste": {0, []*outcome{refused, refused}, []time.Duration{time.Minute, time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			r, m := reconciler(), &memory{}
			var got []time.Duration
			for _, o := range c.looks {
				got = append(got, r.wait(following(c.every), m, o))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAnAnswerIsSharedUnlessSomebodyAskedSince(t *testing.T) {
	r, app := reconciler(), following(0)
	since := func() time.Duration {
		_, at := r.recall(app)
		return now.Sub(at)
	}
	ask := func(when string) {
		app.Annotations = map[string]string{v1alpha1.AnnotationFetch: when}
	}
	var got []time.Duration
	got = append(got, since()) // new: what others of the same moment were told will do
	got = append(got, since()) // by its interval
	app.Generation++
	got = append(got, since()) // the spec was changed
	ask("please")
	got = append(got, since())
	ask(now.Add(-3 * time.Second).Format(time.RFC3339Nano)) // a hook, three seconds ago
	got = append(got, since())
	ask(now.Add(-time.Hour).Format(time.RFC3339Nano)) // no hook is so late
	got = append(got, since())
	ask(now.Add(time.Hour).Format(time.RFC3339Nano))
	got = append(got, since())
	if d := cmp.Diff([]time.Duration{shared, 45 * time.Second, 0, 0, 3 * time.Second, 0, 0}, got); d != "" {
		t.Error(d)
	}
}

func TestServersThatNeverAnswerTakeTheTurnsOfTheirProjectOnly(t *testing.T) {
	r := reconciler()
	for range maxBusy {
		if !r.enter("slow") {
			t.Fatal("a project has fewer turns than it should")
		}
	}
	if r.enter("slow") {
		t.Error("a project takes more turns than it should")
	}
	if !r.enter("other") {
		t.Error("another project has no turn")
	}
	r.leave("slow")
	if !r.enter("slow") {
		t.Error("a turn that ended is not given again")
	}
}
