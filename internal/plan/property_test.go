package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// library is contents by digest, as a depot has them.
type library map[desired.Digest]content.Bundle

func (l library) read(d desired.Digest) (content.Bundle, error) {
	b, ok := l[d]
	if !ok {
		return b, fmt.Errorf("no content %s", d)
	}
	return b, nil
}

func refer(namespace, name, key string, value []byte) string {
	return "hmac-sha256:" + string(desired.Sum([]byte(namespace + name + key + string(value))))[len("sha256:"):]
}

func (l library) add(t interface{ Fatal(...any) }, manifests string) desired.Digest {
	parsed, err := content.Parse([]content.File{{Name: "m.yaml", Data: []byte(manifests)}}, content.Options{Ref: refer})
	if err != nil {
		t.Fatal(err)
	}
	d := parsed.Bundle.Digest()
	l[d] = parsed.Bundle
	return d
}

// drawManifests are a few objects of a few names, so that two draws share some.
func drawManifests(t *rapid.T) string {
	word := rapid.SampledFrom([]string{"red", "blue", "${atoll:cluster.name}", "${atoll:cluster.region}-${atoll:var.color}"})
	text := ""
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID[string]).Draw(t, "maps") {
		options := rapid.SampledFrom([]string{"Validate=true", "Prune=false", "Delete=false"}).Draw(t, "options")
		text += fmt.Sprintf("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, annotations: {argocd.argoproj.io/sync-options: %s}}, data: {x: %q, y: %q}}\n", name, options, word.Draw(t, "x"), word.Draw(t, "y"))
	}
	if rapid.Bool().Draw(t, "secret") {
		text += fmt.Sprintf("---\n{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {p: %q}}\n", rapid.SampledFrom([]string{"one", "two"}).Draw(t, "secret value"))
	}
	if rapid.Bool().Draw(t, "deployment") {
		containers := ""
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"app", "side", "log"}), 1, 3, rapid.ID[string]).Draw(t, "containers") {
			containers += fmt.Sprintf("{name: %s, image: %q, args: [%q, %q]},", name, word.Draw(t, "image"), word.Draw(t, "arg"), word.Draw(t, "arg"))
		}
		text += fmt.Sprintf("---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: demo}, spec: {replicas: %d, template: {spec: {containers: [%s]}}}}\n",
			rapid.IntRange(1, 3).Draw(t, "replicas"), containers)
	}
	return text
}

// drawState is an application as it may be written, on a fleet as it may be.
func drawState(t *rapid.T, l library, running []string) assign.State {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", UID: "1", Generation: rapid.Int64Range(1, 9).Draw(t, "generation")}}
	app.Spec.OnDelete = rapid.SampledFrom([]v1alpha1.DeletionPolicy{v1alpha1.Orphan, v1alpha1.Delete}).Draw(t, "onDelete")
	app.Spec.Adopt = rapid.Bool().Draw(t, "adopt")
	if app.Spec.LateBinding = rapid.Bool().Draw(t, "lateBinding"); app.Spec.LateBinding {
		app.Spec.Variables = map[string]string{"color": rapid.SampledFrom([]string{"gold", "grey"}).Draw(t, "color")}
	}
	app.Status.Clusters = running
	app.Annotations = map[string]string{}
	rule, err := placement.Compile(v1alpha1.PlacementRule{Clusters: "stage=production"})
	if err != nil {
		t.Fatal(err)
	}
	s := assign.State{
		App: app, Project: &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}, Rule: rule,
		Content: l.add(t, drawManifests(t)), Released: func(string, desired.Entry) bool { return rapid.Bool().Draw(t, "released") },
		Check: func(desired.Entry) []report.Problem { return nil },
	}
	for _, name := range []string{"c1", "c2", "c3", "c4", "c5", "c6"} {
		if rapid.IntRange(0, 9).Draw(t, "there") == 0 {
			continue
		}
		c := v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"stage": rapid.SampledFrom([]string{"production", "production", "test"}).Draw(t, "stage")}}}
		c.Spec.Accepted, c.Spec.Region = true, rapid.SampledFrom([]string{"eu", "us"}).Draw(t, "region")
		c.Status.Identity, c.Status.Facts = &v1alpha1.AgentIdentity{}, &v1alpha1.Facts{}
		s.Clusters = append(s.Clusters, c)
	}
	// Some clusters are kept at another version, as a pin or a rollout that was
	// taken back does.
	other := rollout.VersionOf(app, "demo", string(l.add(t, drawManifests(t))))
	if now := rollout.VersionOf(app, desired.MemberNamespace(app, s.Project), string(s.Content)); rapid.Bool().Draw(t, "kept back") {
		back := map[string]bool{}
		for _, c := range s.Clusters {
			back[c.Name] = rapid.IntRange(0, 3).Draw(t, "back") == 0
		}
		s.Version = func(cluster string) *v1alpha1.Version {
			if back[cluster] {
				return &other
			}
			return &now
		}
	}
	return s
}

// asked is what an entry asks of a cluster, object by object, worked out from
// the content alone.
func asked(t *rapid.T, l library, e desired.Entry, ok bool) map[string]string {
	world := map[string]string{}
	if !ok || e.Withdrawn || e.Hold {
		return world
	}
	bundle, err := l.read(e.Content)
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := bundle.Resolve(e.Bindings, func(ref string) ([]byte, error) { return []byte(ref), nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range resolved {
		namespace := u.GetNamespace()
		if namespace == "" {
			namespace = e.Namespace
		}
		u.SetNamespace("")
		data, err := json.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		world[u.GetKind()+" "+namespace+"/"+u.GetName()] = string(data)
	}
	return world
}

// follow does to a world what a class says.
func follow(t *rapid.T, world, next map[string]string, c *class) map[string]string {
	world = maps.Clone(world)
	if c.Effect == EffectOrphan {
		return map[string]string{}
	}
	for _, o := range c.Objects {
		name := o.Ref.Kind + " " + o.Ref.Namespace + "/" + o.Ref.Name
		old, there := world[name]
		switch {
		case there == (o.Action == Create):
			t.Fatalf("%s is to be %s, and is there: %v", name, o.Action, there)
		case o.Action == Delete, o.Action == Keep: // it is not asked for, either way
			delete(world, name)
		case o.Action == Create:
			world[name] = next[name]
		default:
			var v any
			if err := json.Unmarshal([]byte(old), &v); err != nil {
				t.Fatal(err)
			}
			for _, f := range o.Fields {
				v = set(t, v, f.at, f)
			}
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			world[name] = string(data)
		}
	}
	return world
}

// set does what one field says.
func set(t *rapid.T, v any, at path, f Field) any {
	if len(at) == 0 {
		return plainJSON(t, f.New)
	}
	switch step := at[0].(type) {
	case string:
		m := v.(map[string]any)
		if len(at) == 1 && !f.is {
			delete(m, step)
			return m
		}
		m[step] = set(t, m[step], at[1:], f)
		return m
	case int:
		list := v.([]any)
		list[step] = set(t, list[step], at[1:], f)
		return list
	case element:
		list := v.([]any)
		i := slices.IndexFunc(list, func(e any) bool { return e.(map[string]any)["name"] == string(step) })
		switch {
		case len(at) == 1 && !f.is:
			return slices.Delete(list, i, i+1)
		case i < 0:
			return append(list, plainJSON(t, f.New))
		}
		list[i] = set(t, list[i], at[1:], f)
		return list
	}
	t.Fatalf("a path has %T", at[0])
	return nil
}

func plainJSON(t *rapid.T, v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func noLifecycle(schema.GroupVersionKind) (Lifecycle, bool) { return Lifecycle{Known: true}, true }

// What a plan says, done to what each cluster is asked for now, gives exactly
// what it would be asked for: nothing is missing in it and nothing too much.
func TestAPlanIsWhatThenHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := library{}
		was := assign.Make(drawState(t, l, nil))
		running := slices.Sorted(slices.Values(was.Clusters))
		next := assign.Make(drawState(t, l, running))

		in := Input{Project: "demo", Application: "shop", Next: next, Content: l.read, Lifecycle: noLifecycle}
		for _, name := range []string{"c1", "c2", "c3", "c4", "c5", "c6"} {
			c := Cluster{Name: name, Facts: &v1alpha1.Facts{}}
			if e, ok := was.Entries[name]; ok {
				c.Before = &e
			}
			if e, ok := next.Entries[name]; ok {
				c.After = &e
			}
			in.Clusters = append(in.Clusters, c)
		}
		m, seen := newMaker(in), 0
		classOf := map[string]*class{}
		for _, c := range m.classes {
			for _, name := range c.Clusters {
				if classOf[name] != nil {
					t.Fatalf("%s is in two classes", name)
				}
				classOf[name] = c
				seen++
			}
		}
		if len(m.plan.Unknown) > 0 || seen+m.plan.Unchanged != len(in.Clusters) {
			t.Fatalf("%d clusters change, %d stay, of %d; unknown %v", seen, m.plan.Unchanged, len(in.Clusters), m.plan.Unknown)
		}
		for _, c := range in.Clusters {
			before, _ := was.Entries[c.Name]
			after, ok := next.Entries[c.Name]
			old, want := asked(t, l, before, c.Before != nil), asked(t, l, after, ok)
			if after.Hold {
				want = old
			}
			got := old
			if k := classOf[c.Name]; k != nil {
				got = follow(t, old, want, k)
				if k.Effect == EffectChange && cmp.Equal(old, want) && len(k.Settings) == 0 {
					t.Fatalf("%s is said to change, and does not", c.Name)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s (-what happens +what the plan says):\n%s", c.Name, diff)
			}
		}
	})
}
