package syncoption

import (
	"slices"
	"strings"
	"testing"
)

func manifest(annotations map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{"annotations": annotations}}
}

func TestWhatAManifestSaysOfItsObject(t *testing.T) {
	const ours, argo, helm, flux = "atoll.dev/prune", "argocd.argoproj.io/sync-options", "helm.sh/resource-policy", "kustomize.toolkit.fluxcd.io/prune"
	for name, tt := range map[string]struct {
		annotations map[string]any
		keep        Keep
		recreate    bool
		missed      []string
	}{
		"nothing":                       {},
		"ours":                          {annotations: map[string]any{ours: "disabled"}, keep: WhenPruned | WhenWithdrawn},
		"ours wins":                     {annotations: map[string]any{ours: "enabled", helm: "keep", flux: "disabled", argo: "Prune=false"}},
		"a chart's":                     {annotations: map[string]any{helm: " Keep "}, keep: WhenPruned | WhenWithdrawn},
		"a chart's, otherwise":          {annotations: map[string]any{helm: "delete"}},
		"Flux's":                        {annotations: map[string]any{flux: "disabled"}, keep: WhenPruned | WhenWithdrawn},
		"Flux's, otherwise":             {annotations: map[string]any{flux: "Disabled"}},
		"Argo CD's, one":                {annotations: map[string]any{argo: "Prune=false"}, keep: WhenPruned},
		"Argo CD's, the other":          {annotations: map[string]any{argo: "Delete=false"}, keep: WhenWithdrawn},
		"Argo CD's, a list":             {annotations: map[string]any{argo: "ServerSideApply=true, Delete=confirm,,Prune=false"}, keep: WhenPruned | WhenWithdrawn},
		"Argo CD's, what is not done":   {annotations: map[string]any{argo: "Replace=true,Prune=true,Force=true"}, recreate: true, missed: []string{"Replace=true"}},
		"Flux's force":                  {annotations: map[string]any{fluxForce: "enabled"}, recreate: true},
		"ours makes anew":               {annotations: map[string]any{"atoll.dev/recreate": "enabled"}, recreate: true},
		"ours does not, and wins":       {annotations: map[string]any{"atoll.dev/recreate": "disabled", fluxForce: "enabled", argo: "Force=true"}},
		"Argo CD's, what it knows not":  {annotations: map[string]any{argo: "prune=false"}, missed: []string{"prune=false"}},
		"an annotation that is no text": {annotations: map[string]any{ours: true, argo: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := Of(manifest(tt.annotations))
			if err != nil || o.Keep != tt.keep || o.Recreate != tt.recreate || !slices.Equal(o.Missed, tt.missed) {
				t.Errorf("keep %b, recreate %v, missed %v, %v; want %b, %v, %v", o.Keep, o.Recreate, o.Missed, err, tt.keep, tt.recreate, tt.missed)
			}
		})
	}
}

func TestIgnoredFieldsAreRead(t *testing.T) {
	o, err := Of(manifest(map[string]any{"atoll.dev/ignore": " spec.replicas, spec.ports[containerPort=80,protocol=TCP].name,\n metadata.annotations[example.com/x] "}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range o.Ignore {
		got = append(got, p.String())
	}
	if want := []string{"spec.replicas", "spec.ports[containerPort=80,protocol=TCP].name", "metadata.annotations[example.com/x]"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestWhatCannotBeMeantIsRefusedByName(t *testing.T) {
	for name, tt := range map[string]struct{ annotation, value, want string }{
		"another word":    {"atoll.dev/prune", "false", "neither disabled nor enabled"},
		"yes":             {"atoll.dev/recreate", "yes", "neither disabled nor enabled"},
		"nothing":         {"atoll.dev/ignore", " , ", "is empty"},
		"no path":         {"atoll.dev/ignore", "spec..replicas", "two dots"},
		"quotes":          {"atoll.dev/ignore", "metadata.annotations['x']", "without quotes"},
		"everything":      {"atoll.dev/ignore", "metadata", "nothing can be applied"},
		"in brackets":     {"atoll.dev/ignore", "metadata[name]", "nothing can be applied"},
		"any":             {"atoll.dev/ignore", "metadata[*]", "nothing can be applied"},
		"an open one":     {"atoll.dev/ignore", "spec.ports[a,b", "not closed"},
		"too many":        {"atoll.dev/ignore", strings.Repeat("a.b,", 65), "65 paths"},
		"one that is big": {"atoll.dev/ignore", strings.Repeat("a", 1025), "more than 1024"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Of(manifest(map[string]any{tt.annotation: tt.value}))
			if err == nil || !strings.Contains(err.Error(), tt.annotation) || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 1300 {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("disabled", "Prune=false,Replace=true", "spec.replicas, metadata.annotations[x]")
	f.Add("", ",", "[,]a[")
	f.Fuzz(func(t *testing.T, prune, options, ignore string) {
		m := manifest(map[string]any{"atoll.dev/prune": prune, "argocd.argoproj.io/sync-options": options, "atoll.dev/ignore": ignore})
		o, err := Of(m)
		if err != nil {
			return
		}
		if o.Keep != KeptLive(m) {
			t.Errorf("%b as asked, %b as it lives", o.Keep, KeptLive(m))
		}
		if len(o.Ignore) == 0 || len(o.Ignore) > maxPaths {
			t.Errorf("%d paths of %q", len(o.Ignore), ignore)
		}
	})
}
