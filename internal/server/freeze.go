package server

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/rollout"
)

// freezePart is a row for each freeze in force, with how many changes wait for
// its end.
func (s *server) freezePart(ctx context.Context, o *fleet.Overview, apps []v1alpha1.Application) error {
	all, err := s.Freeze(ctx)
	if err != nil {
		return err
	}
	var projects v1alpha1.ProjectList
	if err := s.Client.List(ctx, &projects); err != nil {
		return err
	}
	waiting := map[string]int{}
	for i := range apps {
		c := meta.FindStatusCondition(apps[i].Status.Conditions, v1alpha1.ConditionRolledOut)
		if c != nil && c.Reason == v1alpha1.ConditionFrozen {
			waiting[""]++
			waiting[apps[i].Namespace]++
			waiting[apps[i].Namespace+"/"+apps[i].Name]++
		}
	}
	add := func(subject, counted string, f *rollout.Frozen) {
		if f == nil {
			return
		}
		row := fleet.Attention{Subject: subject, Reason: v1alpha1.ConditionFrozen, Message: f.Why(), Do: f.Thaw}
		if n := waiting[counted]; n > 0 {
			row.Message += fmt.Sprintf("; changes of applications that wait: %d", n)
		}
		if f.Since != nil {
			row.Since = f.Since.Time
		}
		o.Frozen = append(o.Frozen, row)
	}
	add("everything", "", rollout.FrozenHub(all, s.Now()))
	for i := range projects.Items {
		p := &projects.Items[i]
		add("project/"+p.Name, p.Name, rollout.FrozenProject(p, s.Now()))
	}
	for i := range apps {
		name := apps[i].Namespace + "/" + apps[i].Name
		add(name, name, rollout.FrozenApplication(&apps[i], s.Now()))
	}
	return nil
}
