package apply

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

func victims(names ...string) []victim {
	var out []victim
	for _, n := range names {
		out = append(out, victim{ID: ID{Kind: "ConfigMap", Namespace: "n", Name: n}, UID: "uid-" + n})
	}
	return out
}

func anyVictim(t *rapid.T) victim {
	kind := rapid.SampledFrom([]string{"ConfigMap", "Namespace", "PersistentVolumeClaim", "Service"}).Draw(t, "kind")
	name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "name")
	return victim{ID: ID{Kind: kind, Name: name}, UID: rapid.SampledFrom([]string{"1", "2", ""}).Draw(t, "uid")}
}

// TestPrunePlansNeverGoTooFar replays random syncs, allowances and partial
// progress and checks each plan.
func TestPrunePlansNeverGoTooFar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var progress pruning
		owned := rapid.SliceOfNDistinct(rapid.Custom(anyVictim), 0, 12, func(v victim) ID { return v.ID }).Draw(t, "owned")
		spent := map[desired.Digest]int{}
		for range rapid.IntRange(1, 6).Draw(t, "syncs") {
			in := pruneInput{Owned: owned, Wanted: map[ID]bool{}, Claimed: map[ID]bool{}, Progress: progress}
			for _, v := range owned {
				if rapid.Bool().Draw(t, "wanted") {
					in.Wanted[v.ID] = true
				} else if rapid.IntRange(0, 5).Draw(t, "claimed") == 0 {
					in.Claimed[v.ID] = true
				}
			}
			in.Forbidden = rapid.IntRange(0, 4).Draw(t, "forbidden") == 0
			in.Entry.Withdrawn = rapid.Bool().Draw(t, "withdrawn")
			in.Entry.Content = desired.Digest(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "content"))
			in.Entry.Policy.DeletionBudget = int32(rapid.IntRange(0, 6).Draw(t, "budget"))
			in.Entry.Policy.OnDelete = rapid.SampledFrom([]v1alpha1.DeletionPolicy{v1alpha1.Orphan, v1alpha1.Delete}).Draw(t, "onDelete")
			if rapid.Bool().Draw(t, "allow") {
				in.Entry.AllowDeletion = progress.Digest
			}
			plan := planPrune(in)
			checkPlan(t, in, plan, spent)
			progress = plan.Progress
			owned = slices.DeleteFunc(slices.Clone(owned), func(v victim) bool {
				return slices.Contains(plan.Delete, v) || slices.Contains(plan.Release, v)
			})
		}
	})
}

func checkPlan(t *rapid.T, in pruneInput, plan prunePlan, spent map[desired.Digest]int) {
	seen := map[ID]int{}
	for _, list := range [][]victim{plan.Delete, plan.Release, plan.Held} {
		for _, v := range list {
			if seen[v.ID]++; seen[v.ID] > 1 {
				t.Fatalf("%s stands twice in the plan", v.ID)
			}
			if !slices.Contains(in.Owned, v) {
				t.Fatalf("%s was never recorded", v.ID)
			}
			if in.Wanted[v.ID] && !in.Entry.Withdrawn {
				t.Fatalf("%s is wanted", v.ID)
			}
		}
	}
	allowed := plan.Progress.Allowed
	for _, v := range plan.Delete {
		person := allowed && slices.Contains(plan.Progress.Held, v)
		switch {
		case v.UID == "" || in.Claimed[v.ID] || in.Forbidden:
			t.Fatalf("%s must not be deleted", v.ID)
		case in.Entry.Withdrawn && in.Entry.Policy.OnDelete != v1alpha1.Delete:
			t.Fatalf("%s is to be orphaned", v.ID)
		case person:
			continue
		case needsConfirmation(v.ID):
			t.Fatalf("%s needs a person", v.ID)
		case len(in.Wanted) == 0 && !in.Entry.Withdrawn:
			t.Fatalf("%s is deleted because the source is empty", v.ID)
		}
		spent[plan.Progress.Sync]++
	}
	if n := plan.Progress.Deleted; n > int(in.Entry.Policy.DeletionBudget) {
		t.Fatalf("%d deleted, budget %d", n, in.Entry.Policy.DeletionBudget)
	}
	if len(plan.Held) > 0 && plan.Why == "" {
		t.Fatal("a hold without a word")
	}
}

func TestPlanPrune(t *testing.T) {
	base := func() pruneInput {
		return pruneInput{
			Entry: desired.Entry{Content: "x", Policy: desired.Policy{DeletionBudget: 2}}, Owned: victims("a", "b", "c"),
			Wanted: map[ID]bool{}, Claimed: map[ID]bool{},
		}
	}
	wantA := func(in *pruneInput) { in.Wanted[in.Owned[0].ID] = true }

	t.Run("within the budget it is deleted", func(t *testing.T) {
		in := base()
		wantA(&in)
		if plan := planPrune(in); len(plan.Delete) != 2 || len(plan.Held) != 0 || plan.Progress.Deleted != 2 {
			t.Errorf("%+v", plan)
		}
	})
	t.Run("the budget is for the sync, not for each pass", func(t *testing.T) {
		in := base()
		wantA(&in)
		in.Progress = pruning{Sync: syncOf(in.Entry), Deleted: 1}
		if plan := planPrune(in); len(plan.Delete) != 0 || len(plan.Held) != 2 {
			t.Errorf("%+v", plan)
		}
	})
	t.Run("a held list that shrinks by itself stays held", func(t *testing.T) {
		in := base()
		in.Wanted[ID{Kind: "ConfigMap", Name: "new"}] = true
		plan := planPrune(in)
		in.Progress, in.Owned = plan.Progress, in.Owned[:2]
		if plan = planPrune(in); len(plan.Delete) != 0 || len(plan.Held) != 2 {
			t.Errorf("%+v", plan)
		}
	})
	t.Run("another list than the allowed one stays held", func(t *testing.T) {
		in := base()
		plan := planPrune(in)
		in.Entry.AllowDeletion, in.Progress = plan.Progress.Digest, pruning{}
		in.Owned = victims("a", "b", "d")
		if plan = planPrune(in); len(plan.Delete) != 0 || len(plan.Held) != 3 {
			t.Errorf("%+v", plan)
		}
	})
	t.Run("the allowed list is deleted, also after a restart that forgot the hold", func(t *testing.T) {
		in := base()
		in.Entry.AllowDeletion = digestOf(in.Owned)
		if plan := planPrune(in); len(plan.Delete) != 3 || len(plan.Held) != 0 {
			t.Errorf("%+v", plan)
		}
	})
	t.Run("the same name with another UID is another list", func(t *testing.T) {
		if a, b := victims("a"), victims("a"); digestOf(a) != digestOf(b) {
			t.Error("equal lists differ")
		} else if b[0].UID = "other"; digestOf(a) == digestOf(b) {
			t.Error("the UID is not covered")
		}
	})
}

func TestLimitsForbidWhatTheySayAndMoreWhenTheyAreUnclear(t *testing.T) {
	l := parseLimits(map[string]string{
		"forbidKinds": "Secret, *.example.com\nRoleBinding.rbac.authorization.k8s.io", "forbidNamespaces": "vault prod-*",
		"forbidDeletions": "yes", "forbidExec": "false", "forbidLogz": "true",
	})
	if !l.Deletions || l.Exec || len(l.Wrong) != 2 {
		t.Errorf("%+v", l)
	}
	for _, c := range []struct {
		id      ID
		refused bool
	}{
		{ID{Kind: "Secret", Namespace: "a", Name: "x"}, true},
		{ID{Kind: "ConfigMap", Namespace: "a", Name: "x"}, false},
		{ID{Group: "example.com", Kind: "Anything", Namespace: "a", Name: "x"}, true},
		{ID{Group: "other.com", Kind: "Secret", Namespace: "a", Name: "x"}, false},
		{ID{Kind: "ConfigMap", Namespace: "vault", Name: "x"}, true},
		{ID{Kind: "ConfigMap", Namespace: "vault2", Name: "x"}, false},
		{ID{Kind: "Namespace", Name: "prod-eu"}, true},
		{ID{Kind: "ConfigMap", Namespace: "prod-eu", Name: "x"}, true},
	} {
		if got := l.refuses(c.id) != ""; got != c.refused {
			t.Errorf("%s refused: %v", c.id, got)
		}
	}
}
