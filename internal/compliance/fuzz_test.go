package compliance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/compliance"
	"atoll.dev/atoll/internal/compliance/starter"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/defaulting"
)

// cheap is further without the policy that spends all that it may.
var cheap, _, _ = strings.Cut(further, "---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: costly}")

// FuzzPolicies reads anything as policies and judges objects by them: it must end,
// panic never, and place what is wrong within the file.
func FuzzPolicies(f *testing.F) {
	starters, err := filepath.Glob("starter/*.yaml")
	if err != nil || len(starters) == 0 {
		f.Fatal(err)
	}
	for _, file := range starters {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(cheap)
	f.Add(strings.ReplaceAll(cheap, "object.", "objct."))
	given := manifests(f, deployments())
	f.Fuzz(func(t *testing.T, text string) {
		files := []content.File{{Name: "p.yaml", Data: []byte(text)}}
		objects, err := compliance.Read(files)
		if err != nil {
			return
		}
		places := compliance.Locate(files)
		set, err := compliance.Compile(objects)
		if faults, ok := err.(compliance.Faults); ok {
			for _, fault := range faults {
				if file, line := places.Fault(fault); file != "" && line < 1 {
					t.Errorf("%s is in line %d", fault, line)
				}
			}
		}
		if err != nil {
			return
		}
		r, err := set.Check(t.Context(), given, compliance.Options{Namespace: "default", Facts: true, Now: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Violations {
			if v.Policy == "" || v.Message == "" || v.Object.Kind == "" {
				t.Errorf("a violation tells too little: %+v", v)
			}
		}
	})
}

// FuzzManifests judges anything by the starter policies and by those that use more.
func FuzzManifests(f *testing.F) {
	f.Add(candidates)
	f.Add(there)
	f.Add(deployments())
	f.Add("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: null, volumes: 3}}}}")
	f.Add("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: {podSelector: [], policyTypes: {}}}")
	set, err := compliance.Compile(append(starter.Objects(true), manifests(f, cheap)...))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		given := []content.File{{Name: "m.yaml", Data: []byte(text)}}
		objects, err := compliance.Read(given)
		if err != nil {
			return
		}
		compliance.Locate(given)
		if _, err := set.Check(t.Context(), objects, compliance.Options{Facts: true, Now: time.Unix(0, 0)}); err != nil {
			t.Fatal(err)
		}
		for _, u := range objects {
			_ = defaulting.Fill(u)
		}
	})
}
