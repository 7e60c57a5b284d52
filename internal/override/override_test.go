package override_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/override"
)

const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: migrate, image: "registry.test:5000/shop/web:1.2.3"}]
      containers:
      - {name: web, image: "registry.test:5000/shop/web:1.2.3", env: [{name: MODE, value: plain}]}
      - {name: proxy, image: "envoy@sha256:aaaa"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {password: canary}
---
apiVersion: example.test/v1
kind: Widget
metadata: {name: gear}
spec: {teeth: [1, 2, 3], size: 9007199254740993}
`

func bundle(t interface{ Fatal(...any) }, text string) content.Bundle {
	ref := func(namespace, name, key string, _ []byte) string {
		return "hmac-sha256:" + strings.TrimPrefix(string(desired.Sum([]byte(namespace+name+key))), "sha256:")
	}
	parsed, err := content.Parse([]content.File{{Name: "shop.yaml", Data: []byte(text)}}, content.Options{Ref: ref})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Bundle
}

// manifest is the object of that kind.
func manifest(t *testing.T, b content.Bundle, kind string) string {
	t.Helper()
	for _, o := range b.Objects {
		if o.Ref.Kind == kind {
			return string(o.Manifest)
		}
	}
	t.Fatalf("no %s is left", kind)
	return ""
}

func patched(kind, text string) v1alpha1.Override {
	return v1alpha1.Override{Clusters: "a=b", Patches: []v1alpha1.ObjectPatch{{Target: v1alpha1.PatchTarget{Kind: kind}, Patch: text}}}
}

func image(i v1alpha1.ImageOverride) v1alpha1.Override {
	return v1alpha1.Override{Clusters: "a=b", Images: []v1alpha1.ImageOverride{i}}
}

func TestOverridesChangeWhatTheySay(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    v1alpha1.Override
		kind string
		want []string
		gone []string
	}{
		{"a strategic merge goes by the container's name", patched("Deployment", "spec: {template: {spec: {containers: [{name: web, env: [{name: EXTRA, value: x}]}]}}}"), "Deployment",
			[]string{`{"name":"EXTRA","value":"x"}`, `{"name":"MODE","value":"plain"}`, `"name":"proxy"`}, nil},
		{"a directive takes a container out", patched("Deployment", "spec: {template: {spec: {containers: [{name: proxy, $patch: delete}]}}}"), "Deployment", []string{`"name":"web"`}, []string{"proxy"}},
		{"JSON 6902", patched("Service", "- {op: replace, path: /spec/ports/0/port, value: 8080}\n- {op: add, path: /metadata/labels, value: {tier: edge}}"), "Service",
			[]string{`"port":8080`, `"labels":{"tier":"edge"}`}, []string{`"port":80}`}},
		{"a kind that Kubernetes does not know is merged plainly, and numbers stay whole", patched("Widget", "spec: {teeth: [4]}"), "Widget", []string{`"teeth":[4]`, "9007199254740993"}, nil},
		{"a Secret's labels are no values", patched("Secret", "metadata: {labels: {a: b}}"), "Secret", []string{`"labels":{"a":"b"}`}, nil},
		{"a tag, in every container", image(v1alpha1.ImageOverride{Name: "registry.test:5000/shop/web", NewTag: "2.0"}), "Deployment",
			[]string{`"image":"registry.test:5000/shop/web:2.0","name":"migrate"`, `"image":"registry.test:5000/shop/web:2.0","name":"web"`, "envoy@sha256:aaaa"}, []string{"1.2.3"}},
		{"a mirror keeps the tag", image(v1alpha1.ImageOverride{Name: "registry.test:5000/shop/web", NewName: "mirror.test/web"}), "Deployment", []string{`"mirror.test/web:1.2.3"`}, []string{"registry.test"}},
		{"a tag in the place of a digest", image(v1alpha1.ImageOverride{Name: "envoy", NewTag: "v1"}), "Deployment", []string{`"envoy:v1"`}, []string{"aaaa"}},
		{"replicas", v1alpha1.Override{Clusters: "a=b", Replicas: []v1alpha1.ReplicaOverride{{Name: "web", Count: 7}}}, "Deployment", []string{`"replicas":7`}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := bundle(t, shop)
			plain := before.Digest()
			over, err := override.Apply(before, []v1alpha1.Override{tc.o}, []int32{0})
			if err != nil {
				t.Fatal(err)
			}
			got := manifest(t, over, tc.kind)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s is not in %s", want, got)
				}
			}
			for _, gone := range tc.gone {
				if strings.Contains(got, gone) {
					t.Errorf("%s is still in %s", gone, got)
				}
			}
			if before.Digest() != plain {
				t.Error("the content that was given is altered")
			}
			if _, err := content.Decode(over.Encode()); err != nil {
				t.Errorf("an agent would not read it: %v", err)
			}
		})
	}
}

func TestAnImageBoundLateKeepsItsName(t *testing.T) {
	b := bundle(t, strings.ReplaceAll(shop, "web:1.2.3", "web:${atoll:cluster.label.team/tag}"))
	over, err := override.Apply(b, []v1alpha1.Override{image(v1alpha1.ImageOverride{Name: "registry.test:5000/shop/web", NewName: "mirror.test/web"})}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	if got := manifest(t, over, "Deployment"); !strings.Contains(got, `"mirror.test/web:${atoll:cluster.label.team/tag}"`) {
		t.Error(got)
	}
}

func TestWhatCannotBeLaidOverIsSaidByName(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    v1alpha1.Override
		want string
	}{
		{"no such object", patched("StatefulSet", "spec: {replicas: 1}"), "spec.overrides[0].patches[0].target: there is no StatefulSet"},
		{"no such image", image(v1alpha1.ImageOverride{Name: "registry.test:5000/shop", NewTag: "1"}), "spec.overrides[0].images[0].name: no container has the image registry.test:5000/shop"},
		{"nothing of that name to scale", v1alpha1.Override{Replicas: []v1alpha1.ReplicaOverride{{Name: "key"}}}, "spec.overrides[0].replicas[0].name: no Deployment"},
		{"another name", patched("Service", "metadata: {name: other}"), "Service/web would be another object"},
		{"another namespace", patched("Service", "metadata: {namespace: other}"), "would be another object"},
		{"another version", patched("Deployment", "apiVersion: apps/v1beta1"), "would be another object"},
		{"no name at all", patched("Service", "- {op: remove, path: /metadata/name}"), "metadata.name is missing"},
		{"a value for a Secret", patched("Secret", "stringData: {password: x}"), "stringData of a Secret"},
		{"a value for a Secret, encoded", patched("Secret", "- {op: add, path: /data, value: {password: eA==}}"), "data of a Secret"},
		{"a path that is not there", patched("Service", "- {op: replace, path: /spec/nothing/here, value: 1}"), "Service/web does not take the patch"},
		{"a test that fails", patched("Service", "- {op: test, path: /spec/ports/0/port, value: 81}"), "Service/web does not take the patch"},
		{"an owner", patched("Service", "metadata: {ownerReferences: [{apiVersion: v1, kind: Pod, name: x, uid: y}]}"), "ownerReferences"},
		{"copies of copies", patched("Widget", "- {op: copy, from: /spec, path: /spec/more}"), "copy is not allowed"},
		{"a whole object taken out", patched("Service", "$patch: delete"), "leave the object out at the source"},
		{"nothing", patched("Service", "{}"), "changes nothing"},
		{"a word", patched("Service", "hello"), "neither a map"},
		{"broken YAML", patched("Service", "{"), "is no YAML"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := override.Apply(bundle(t, shop), []v1alpha1.Override{tc.o}, []int32{0})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v does not say %q", err, tc.want)
			}
		})
	}
}

func TestAClusterMatchesByItsLabels(t *testing.T) {
	overrides := []v1alpha1.Override{{Clusters: "stage=production"}, {Clusters: "tier in (edge,far)"}, {Clusters: "stage"}}
	selectors, err := override.Select(overrides)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int32{0, 2}, selectors.Of(map[string]string{"stage": "production"})); diff != "" {
		t.Error(diff)
	}
	if of := selectors.Of(nil); of != nil {
		t.Errorf("a cluster without labels matches %v", of)
	}
	if why := override.Why(overrides, []int32{0, 2}); why != "overrides 0 and 2 (stage=production; stage)" {
		t.Error(why)
	}
	if _, err := override.Select([]v1alpha1.Override{{Clusters: "a=b"}, {Clusters: "in ("}}); err == nil || !strings.Contains(err.Error(), "spec.overrides[1].clusters") {
		t.Errorf("a selector that is none: %v", err)
	}
}

// Later overrides win, none changes nothing, and the same always makes the same
// bytes.
func TestOverridesAreAFunctionOfTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bundle(t, shop)
		var all []v1alpha1.Override
		replicas, tag := "2", "1.2.3"
		var of []int32
		for i := range rapid.IntRange(0, 6).Draw(t, "overrides") {
			counts, n := rapid.Bool().Draw(t, "counts"), rapid.Int32Range(0, 50).Draw(t, "n")
			o := image(v1alpha1.ImageOverride{Name: "registry.test:5000/shop/web", NewTag: fmt.Sprint("t", n)})
			if counts {
				o = v1alpha1.Override{Clusters: "a=b", Replicas: []v1alpha1.ReplicaOverride{{Name: "web", Count: n}}}
			}
			all = append(all, o)
			if rapid.Bool().Draw(t, "matches") {
				of = append(of, int32(i))
				if counts {
					replicas = fmt.Sprint(n)
				} else {
					tag = fmt.Sprint("t", n)
				}
			}
		}
		once, err := override.Apply(b, all, of)
		if err != nil {
			t.Fatal(err)
		}
		again, err := override.Apply(bundle(t, shop), all, of)
		if err != nil || again.Digest() != once.Digest() {
			t.Fatalf("the same makes %s and %s: %v", once.Digest(), again.Digest(), err)
		}
		if len(of) == 0 && once.Digest() != b.Digest() {
			t.Fatal("no override changes something")
		}
		text := string(once.Encode())
		if !strings.Contains(text, `"replicas":`+replicas+",") || strings.Count(text, "shop/web:"+tag+`"`) != 2 {
			t.Fatalf("want %s replicas of %s: %s", replicas, tag, text)
		}
		whole := override.Whole(b.Digest(), nil, all)
		if (len(all) == 0) != (whole == b.Digest()) || whole != override.Whole(b.Digest(), nil, all) {
			t.Fatalf("%d overrides over %s are called %s", len(all), b.Digest(), whole)
		}
	})
}

func FuzzPatch(f *testing.F) {
	for _, seed := range []string{"spec: {replicas: 1}", "- {op: add, path: /spec/x, value: 1}", "- {op: move, from: /spec, path: /metadata/labels}", "metadata: null", "spec: {ports: [{$patch: replace}]}", "a: &a [*a]"} {
		f.Add(seed)
	}
	b := bundle(f, shop)
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []string{"Deployment", "Service", "Secret", "Widget"} {
			over, err := override.Apply(b, []v1alpha1.Override{patched(kind, text)}, []int32{0})
			if err != nil {
				continue
			}
			if _, err := content.Decode(over.Encode()); err != nil {
				t.Fatalf("an agent would not read it: %v", err)
			}
		}
	})
}
