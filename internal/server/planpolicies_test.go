package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/plan"
	"atoll.dev/atoll/internal/seal"
)

// shelf has contents, and counts how often they are asked for.
type shelf struct {
	kept  map[desired.Digest][]byte
	asked map[desired.Digest]int
}

func (s *shelf) Project(string) (depot.Store, error)               { return s, nil }
func (s *shelf) Projects(context.Context) ([]string, error)        { return nil, nil }
func (s *shelf) Delete(context.Context, desired.Digest) error      { return nil }
func (s *shelf) Digests(context.Context) ([]desired.Digest, error) { return nil, nil }
func (s *shelf) Put(context.Context, desired.Digest, []byte) error { return nil }
func (s *shelf) Stored(context.Context, desired.Digest) (time.Time, error) {
	return time.Time{}, blob.ErrMissing
}

func (s *shelf) Get(_ context.Context, d desired.Digest) ([]byte, error) {
	s.asked[d]++
	if data, ok := s.kept[d]; ok {
		return data, nil
	}
	return nil, blob.ErrMissing
}

func (s *shelf) put(t *testing.T, manifests string) desired.Digest {
	t.Helper()
	parsed, err := content.Parse([]content.File{{Name: "m.yaml", Data: []byte(manifests)}}, content.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data := parsed.Bundle.Encode()
	s.kept[desired.Sum(data)] = data
	return desired.Sum(data)
}

const noBad = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-bad}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]}
  validations: [{expression: "object.data.value != 'bad'"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-bad}
spec: {policyName: no-bad, validationActions: [Deny]}
`

// TestThePoliciesOfAFleetThatBindsLateAreJudgedByWithoutHoldingAllOfIt: what each of
// many clusters makes of its contents is kept for none of them, and what is the same
// for all is compiled once.
func TestThePoliciesOfAFleetThatBindsLateAreJudgedByWithoutHoldingAllOfIt(t *testing.T) {
	s := &shelf{kept: map[desired.Digest][]byte{}, asked: map[desired.Digest]int{}}
	value := "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {value: '${atoll:var.value}'}}"
	policies, app := s.put(t, noBad), s.put(t, value)
	beside := s.put(t, value+"\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}")
	spaces := s.put(t, "{apiVersion: v1, kind: Namespace, metadata: {name: team, labels: {a: b}}}")
	j := judge{
		planner: newPlanner(&server{Options: Options{Book: desired.NewBook(func(string) {}), Now: time.Now}}),
		world:   world{depot: depot.New(s, nil, "atoll-system", seal.NewRefKey())},
		after:   map[string]map[desired.Key]*desired.Entry{},
		bases:   map[string]basis{}, sets: map[desired.Digest]compiled{}, reports: map[string]judged{},
	}
	const clusters = 2 * maxSets
	entries := map[desired.Key]map[string]desired.Entry{}
	for i := range clusters {
		cluster := fmt.Sprint("c", i)
		give := func(project, app string, c desired.Digest, privileged bool) *desired.Entry {
			e := desired.Entry{Key: desired.Key{Project: project, Application: app}, Content: c, Namespace: "shop", Policy: desired.Policy{Privileged: privileged}}
			if !privileged {
				e.Bindings = map[string]string{"cluster.name": cluster, "var.value": []string{"good", "bad"}[i%2]}
			}
			if entries[e.Key] == nil {
				entries[e.Key] = map[string]desired.Entry{}
			}
			entries[e.Key][cluster] = e
			return &e
		}
		give("rulers", "policies", policies, true)
		give("shop", "beside", beside, false)
		give("shop", "spaces", spaces, false)
		e := give("shop", "web", app, false)
		j.after[cluster] = map[desired.Key]*desired.Entry{e.Key: e}
	}
	for key, of := range entries {
		j.Book.Set(key, of)
	}
	for i := range clusters {
		cluster := fmt.Sprint("c", i)
		key := desired.Key{Project: "shop", Application: "web"}
		r := j.cluster(t.Context(), "shop", plan.Cluster{Name: cluster, After: j.after[cluster][key]})
		if r.err != nil || len(r.report.Violations) != i%2 {
			t.Fatalf("%s: %v, %v", cluster, r.report.Violations, r.err)
		}
	}
	if len(j.sets) != 1 || s.asked[policies] != 1 || s.asked[beside] != 1 || len(j.bases) != 3 {
		t.Errorf("%d sets, the policies read %d times, another application's content %d times, %d bases", len(j.sets), s.asked[policies], s.asked[beside], len(j.bases))
	}
	j.found = maxFound - 1
	clear(j.reports)
	long := j.after["c1"][desired.Key{Project: "shop", Application: "web"}]
	long.Content = s.put(t, value+"\n---\n"+strings.Replace(value, "name: a", "name: b", 1))
	if r := j.cluster(t.Context(), "shop", plan.Cluster{Name: "c1", After: long}); r.err == nil {
		t.Errorf("%d violations, of which one too many", len(r.report.Violations))
	}
}
