package apply

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/report"
)

// TestAForcedSync puts right what Report mode leaves, tries at once what failed and
// runs a hook again that failed, by the same content.
func TestAForcedSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue"), report1)
	w.synced("shop")
	w.edit(configs, "settings", `{"data":{"color":"red"}}`)
	w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted })
	if err := w.engine.SyncNow(w.key("shop")); err != nil {
		t.Fatal(err)
	}
	s := w.state("shop", "in sync", func(s report.State) bool { return s.Sync == report.InSync && s.Corrections == 1 })
	if got := field(w.get(configs, "settings"), "data", "color"); got != "blue" || !s.Drift[0].Corrected {
		t.Errorf("color=%s; %s", got, describeState(s))
	}
	w.edit(configs, "settings", `{"data":{"color":"green"}}`)
	w.state("shop", "Drifted again, for it was forced once", func(s report.State) bool { return s.Sync == report.Drifted })

	w.deploy("jobs", jobOf("migrate", "task:fail", "atoll.dev/phase: PreSync", false)+configMap("after", "k", "v"))
	w.says("jobs", "HookFailed")
	failed := w.uid("migrate")
	if err := w.engine.SyncNow(w.key("jobs")); err != nil {
		t.Fatal(err)
	}
	again := ""
	w.eventually("it is made again", func() bool {
		list, err := w.client.Resource(jobs).Namespace(w.project).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, job := range list.Items {
			again = string(job.GetUID())
		}
		return again != failed && len(list.Items) > 0
	})
	w.says("jobs", "HookFailed")
	if w.exists(configs, "after") || again == failed {
		t.Errorf("the delivery went on, or the hook did not run again: %s, then %s", failed, again)
	}
	if err := w.engine.SyncNow(w.key("none")); err == nil || !strings.Contains(err.Error(), "runs no such application") {
		t.Errorf("an application that is not there: %v", err)
	}
}
