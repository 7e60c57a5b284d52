package apply

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/marks"
)

// made is what another tool applied, with its marks.
func (w *world) made(gvr schema.GroupVersionResource, manager string, obj map[string]any) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{Object: obj}
	u.SetNamespace(w.project)
	out, err := w.client.Resource(gvr).Namespace(w.project).Apply(w.t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func marked(name, color string, labels, annotations map[string]any) map[string]any {
	obj := existing(name, color)
	metadata := map[string]any{"name": name}
	if labels != nil {
		metadata["labels"] = labels
	}
	if annotations != nil {
		metadata["annotations"] = annotations
	}
	obj["metadata"] = metadata
	return obj
}

func TestWhatAnotherToolReconcilesIsRefusedByItsName(t *testing.T) {
	w := newWorld(t)
	w.ownNamespace()
	w.made(configs, "argocd-controller", marked("argo", "red", nil, map[string]any{marks.ArgoTracking: "shop:/ConfigMap:x/argo"}))
	w.made(configs, "argocd-controller", marked("unlike", "green", nil, map[string]any{marks.ArgoTracking: "shop:/ConfigMap:x/unlike"}))
	w.made(configs, "argocd-controller", marked("label", "red", map[string]any{marks.ArgoPlain: "shop"}, nil))
	w.made(configs, "kustomize-controller", marked("flux", "red", map[string]any{"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}, nil))
	w.made(configs, "helm-controller", marked("helm", "red", map[string]any{"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "shop"}, nil))
	w.made(configs, "person", marked("plain", "red", map[string]any{marks.ArgoPlain: "shop"}, nil))
	tools := map[string]string{"argo": "Argo CD application shop", "unlike": "Argo CD application shop", "label": "Argo CD application shop", "flux": "Flux Kustomization flux-system/apps", "helm": "Flux HelmRelease shop/web"}
	all := configMap("plain", "color", "red")
	before := map[string]string{}
	for name := range tools {
		before[name] = field(w.get(configs, name), "data", "color")
		all += configMap(name, "color", "red")
	}
	w.deploy("shop", all)
	w.refused("shop", tools)
	// Adopting forces, so that there is more to lose.
	w.deploy("shop", strings.ReplaceAll(all, "red", "blue"), adopting)
	w.refused("shop", tools)
	touched := func(m metav1.ManagedFieldsEntry) bool { return strings.HasPrefix(m.Manager, "atoll/") }
	for name := range tools {
		// An attempt that was under way before may still have to be given back.
		w.eventually(name+" is let go of", func() bool { return !slices.ContainsFunc(w.get(configs, name).GetManagedFields(), touched) })
		obj := w.get(configs, name)
		if field(obj, "data", "color") != before[name] || obj.GetLabels()[partOfLabel] != "" {
			t.Errorf("%s was changed: %v", name, obj.Object)
		}
	}
	w.eventually("what nobody reconciles is adopted", func() bool { return field(w.get(configs, "plain"), "data", "color") == "blue" })

	w.edit(configs, "argo", `{"metadata":{"annotations":{"`+marks.ArgoTracking+`":null}}}`)
	w.edit(configs, "unlike", `{"metadata":{"annotations":{"`+marks.ArgoTracking+`":null}}}`)
	w.edit(configs, "label", `{"metadata":{"labels":{"`+marks.ArgoPlain+`":null}}}`)
	w.edit(configs, "flux", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":null}}}`)
	w.edit(configs, "helm", `{"metadata":{"labels":{"helm.toolkit.fluxcd.io/name":null}}}`)
	w.synced("shop")
}

// refused waits until each object is, by the name of its tool.
func (w *world) refused(app string, tools map[string]string) {
	w.t.Helper()
	w.eventually("all are refused", func() bool {
		found := map[string]bool{}
		for _, p := range w.engine.States()[w.key(app)].Problems {
			found[p.Object.Name] = p.Reason == "OwnedBy" && strings.Contains(p.Message, tools[p.Object.Name])
		}
		for name := range tools {
			if !found[name] {
				return false
			}
		}
		return true
	})
}

// The marks of a manifest that was copied from there are our own.
func TestMarksInAManifestOfOursAreNobodyElses(t *testing.T) {
	w := newWorld(t)
	copied := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: copied, namespace: $NS, annotations: {" + marks.ArgoTracking + ": 'shop:/ConfigMap:x/copied'}}\n"
	w.deploy("shop", copied, func(e *desired.Entry) { e.Policy.Adopt = true })
	w.synced("shop")
	w.deleteObject(configs, "copied")
	w.eventually("it is made again", func() bool { return w.exists(configs, "copied") })
}
