package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"atoll.dev/atoll/api/v1alpha1"
)

// fieldManager is the name under which the CLI owns the fields it applies.
const fieldManager = "atoll"

// of is the kind's resource, in a project when it is namespaced.
func (h *hub) of(k kind, project string) dynamic.ResourceInterface {
	if k.namespaced && project != "" {
		return h.objects.Resource(k.gvr()).Namespace(project)
	}
	return h.objects.Resource(k.gvr())
}

// as reads what the API answered into one of our types.
func as[T any](u *unstructured.Unstructured) (*T, error) {
	out := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", strings.ToLower(u.GetKind()), u.GetName(), err)
	}
	return out, nil
}

func fetch[T any](ctx context.Context, h *hub, k kind, project, name string) (*T, error) {
	u, err := h.of(k, project).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, h.missing(ctx, k, project, name, err)
	}
	return as[T](u)
}

func fetchAll[T any](ctx context.Context, h *hub, k kind, project string, opts metav1.ListOptions) ([]T, error) {
	answer, err := h.of(k, project).List(ctx, opts)
	if err != nil {
		return nil, notAHub(h, err)
	}
	items := make([]T, 0, len(answer.Items))
	for i := range answer.Items {
		item, err := as[T](&answer.Items[i])
		if err != nil {
			return nil, err
		}
		items = append(items, *item)
	}
	return items, nil
}

// missing turns "not found" into a sentence that names the nearest object.
func (h *hub) missing(ctx context.Context, k kind, project, name string, err error) error {
	if !apierrors.IsNotFound(err) {
		return err
	}
	if notServed(err) {
		return notAHub(h, err)
	}
	where := ""
	if k.namespaced && project != "" {
		where = " in project " + project
	}
	return wrong("there is no %s %q%s%s", k.singular(), name, where, didYouMean(name, h.names(ctx, k, project)))
}

// names are those of a kind; none when they cannot be listed, for they are
// only ever a hint.
func (h *hub) names(ctx context.Context, k kind, project string) []string {
	answer, err := h.of(k, project).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(answer.Items))
	for _, item := range answer.Items {
		names = append(names, item.GetName())
	}
	return names
}

// notServed tells an unknown resource from an unknown object.
func notServed(err error) bool {
	status := apierrors.APIStatus(nil)
	if s, ok := err.(apierrors.APIStatus); ok {
		status = s
	}
	return status != nil && apierrors.IsNotFound(err) &&
		(status.Status().Details == nil || status.Status().Details.Name == "")
}

func notAHub(h *hub, err error) error {
	if !notServed(err) && !strings.Contains(err.Error(), "404 page not found") {
		return err
	}
	return wrong("%s is a Kubernetes API but not an Atoll hub; is the kubeconfig that of a member cluster?", h.config.Host)
}

// application finds the one that arg names. Without a project it is searched
// in all of them, so that people with a single shop need not say where it is.
func (h *hub) application(ctx context.Context, arg string) (*v1alpha1.Application, error) {
	name, err := parseRef(arg, applicationKind)
	if err != nil {
		return nil, err
	}
	if h.project != "" {
		return fetch[v1alpha1.Application](ctx, h, applicationKind, h.project, name)
	}
	found, err := fetchAll[v1alpha1.Application](ctx, h, applicationKind, "", metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	switch {
	case apierrors.IsForbidden(err):
		return nil, wrong("say which project with --project NAME: you may not look into all of them")
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, wrong("there is no application %q in any project%s", name, didYouMean(name, h.names(ctx, applicationKind, "")))
	case len(found) > 1:
		var projects []string
		for _, app := range found {
			projects = append(projects, app.Namespace)
		}
		return nil, wrong("application %q exists in the projects %s; say which with --project", name, list(projects, 10))
	}
	return &found[0], nil
}

// cluster finds the one that arg names.
func (h *hub) cluster(ctx context.Context, arg string) (*v1alpha1.Cluster, error) {
	name, err := parseRef(arg, clusterKind)
	if err != nil {
		return nil, err
	}
	return fetch[v1alpha1.Cluster](ctx, h, clusterKind, "", name)
}

// knownCluster checks a --cluster flag before anything is asked about it.
func (h *hub) knownCluster(ctx context.Context, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	c, err := h.cluster(ctx, name)
	if err != nil {
		return "", err
	}
	return c.Name, nil
}

// merge writes a few fields as a JSON merge patch.
func (h *hub) merge(ctx context.Context, k kind, project, name string, patch map[string]any) error {
	data, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode the change: %w", err)
	}
	_, err = h.of(k, project).Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("change %s %s: %w", k.singular(), name, err)
	}
	return nil
}
