// Package shop_test keeps the sample deliverable: its manifests parse, and its
// project may deliver all of them.
package shop_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/policy"
	"atoll.dev/atoll/internal/seal"
)

func read(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func bundle(t *testing.T) content.Parsed {
	t.Helper()
	paths, err := filepath.Glob("deploy/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var files []content.File
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, content.File{Name: path, Data: data})
	}
	parsed, err := content.Parse(files, content.Options{Ref: seal.NewRefKey().Ref, Namespace: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestTheProjectMayDeliverTheShop(t *testing.T) {
	var project v1alpha1.Project
	read(t, "project.yaml", &project)
	app := &v1alpha1.Application{}
	app.Name, app.Namespace = "shop", project.Name
	if got := desired.MemberNamespace(app, &project); got != "shop" {
		t.Errorf("the shop goes to namespace %s", got)
	}
	parsed := bundle(t)
	objects, err := parsed.Bundle.Resolve(map[string]string{"cluster.region": "eu-1"}, func(ref string) ([]byte, error) {
		i := slices.IndexFunc(parsed.Values, func(v content.SecretValue) bool { return v.Ref == ref })
		return parsed.Values[i].Value, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range policy.Check(desired.BuildPolicy(app, &project), project.Name, "shop", objects, policy.HubScope(objects)) {
		t.Errorf("%s: %s", v.Object, v.Message)
	}
}

func TestTheShopShowsEachKindOfWork(t *testing.T) {
	parsed := bundle(t)
	kinds := map[string]int{}
	for _, o := range parsed.Bundle.Objects {
		kinds[o.Ref.Kind]++
	}
	for kind, least := range map[string]int{
		"Deployment": 11, "StatefulSet": 1, "Job": 1, "Service": 12, "HorizontalPodAutoscaler": 1,
		"PodDisruptionBudget": 3, "ConfigMap": 2, "Secret": 1, "NetworkPolicy": 3,
	} {
		if kinds[kind] < least {
			t.Errorf("%d of %s, want at least %d", kinds[kind], kind, least)
		}
	}
	if names, err := parsed.Bundle.LateBound(); err != nil || !slices.Equal(names, []string{"cluster.region"}) {
		t.Errorf("late-bound names %v, %v", names, err)
	}
	if strings.Contains(string(parsed.Bundle.Encode()), "demo-only") {
		t.Error("the placeholder values are in the content")
	}
}

func TestTheSmallestApplicationHasSixLines(t *testing.T) {
	var app v1alpha1.Application
	read(t, "application.yaml", &app)
	data, err := os.ReadFile("application.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n != 6 {
		t.Errorf("%d lines", n)
	}
	parsed, err := content.Parse([]content.File{{Name: "inline", Data: []byte(app.Spec.Source.Inline)}}, content.Options{})
	if err != nil || len(parsed.Bundle.Objects) != 1 {
		t.Errorf("%v, %v", parsed.Bundle, err)
	}
}
