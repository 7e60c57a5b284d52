package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/recovery"
)

func (c *console) showRecovery(plan recovery.Plan, memories []recovery.Memory, o recoverOptions) error {
	if o.output != "text" {
		plain, err := withoutStatus(plan)
		if err != nil {
			return err
		}
		return encode(c.Out, o.output, plain)
	}
	if len(plan.Applications) == 0 {
		follow := 0
		for _, m := range memories {
			if m.Follows {
				follow++
			}
		}
		c.say("Nothing is run that this hub does not know: of %s that answered, %d follow it.", count(len(memories), "cluster"), follow)
		return nil
	}
	if o.write { // what is made says itself
		for _, p := range plan.Projects {
			c.unclear("project "+p.Name, p.Problems)
		}
		for _, app := range plan.Applications {
			c.unclear("application "+app.Key.String(), app.Problems)
		}
		return nil
	}
	if err := recoveryPage(plan).write(c.Out, c.view()); err != nil {
		return err
	}
	if plan.Makes() {
		c.say("\nTo make what is new: atoll recover --write")
	} else {
		c.say("\nFor clusters to follow this hub: atoll accept --all --incarnation")
	}
	return nil
}

func (c *console) unclear(what string, problems []string) {
	if len(problems) > 0 {
		c.say("%s is not made: %s", what, strings.Join(problems, "; "))
	}
}

func recoveryPage(plan recovery.Plan) *page {
	p := &page{}
	projects := grid{head: []string{"PROJECT", "", "WHY"}}
	for _, project := range plan.Projects {
		projects.add(text(project.Name), text(recovered(project.Known, project.Object != nil)), text(strings.Join(slices.Concat(project.Problems, project.Notes), "; ")))
	}
	p.table("Projects", projects)
	apps := grid{head: []string{"APPLICATION", "REVISION", "CLUSTERS", "", "WHY"}}
	for _, app := range plan.Applications {
		why := append(append([]string{}, app.Problems...), app.Notes...)
		if app.Secrets > 0 && app.Object != nil {
			why = append(why, fmt.Sprintf("values of %s stay in the members", count(app.Secrets, "Secret")))
		}
		apps.add(text(app.Key.String()), text(app.Revision), text(list(app.Clusters, 5)), text(recovered(app.Known, app.Object != nil)), text(strings.Join(why, "; ")))
	}
	p.table("Applications", apps)
	return p
}

// recovered says what becomes of something that agents remember.
func recovered(known, makes bool) string {
	switch {
	case makes:
		return "new"
	case known:
		return "known"
	}
	return "not clear"
}

// withoutStatus is the plan with objects as people write them.
func withoutStatus(plan recovery.Plan) (map[string]any, error) {
	data, err := json.Marshal(plan)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	for _, section := range out {
		rows, _ := section.([]any)
		for _, row := range rows {
			if fields, ok := row.(map[string]any); ok {
				unstructured.RemoveNestedField(fields, "object", "status")
				unstructured.RemoveNestedField(fields, "object", "metadata", "creationTimestamp")
			}
		}
	}
	return out, nil
}
