// Package prometheus_test keeps the rules for Prometheus equal to the alerts of the hub.
package prometheus_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/alert"
)

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// The file is what Prometheus tells of the hub's own rules: another rule, another
// severity or other words are a difference that somebody would look for in vain.
func TestTheRuleFileHasTheRulesOfTheHub(t *testing.T) {
	data, err := os.ReadFile("atoll.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		t.Fatal(err)
	}
	var want []rule
	for _, r := range alert.Rules {
		want = append(want, rule{
			Alert: r.Name, Expr: fmt.Sprintf("max without (instance, pod) (atoll_alerts{alertname=%q}) > 0", r.Name),
			Labels:      map[string]string{"severity": string(r.Severity)},
			Annotations: map[string]string{"summary": r.Meaning + "; `atoll alerts` names {{ $value }}"},
		})
	}
	if len(file.Groups) != 2 || file.Groups[1].Name != "atoll" {
		t.Fatalf("the groups are %+v", file.Groups)
	}
	if d := cmp.Diff(want, file.Groups[1].Rules); d != "" {
		t.Error(d)
	}
}
