package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
)

// memberAPI is a cluster to join, with the rights of the person who joins it.
type memberAPI struct {
	config  *rest.Config
	typed   kubernetes.Interface
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
}

func newMemberAPI(config *rest.Config) (*memberAPI, error) {
	config.QPS = -1 // a few dozen calls, and somebody waits for them
	m := &memberAPI{config: config}
	var err error
	if m.typed, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if m.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	m.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(m.typed.Discovery()))
	return m, nil
}

// The oldest versions that serve what is installed: server-side apply, and for
// the profile namespaces the admission policy that bounds the agent.
const (
	oldest           = "1.22.0"
	oldestNamespaces = "1.30.0"
)

// look reads which cluster this is and whether it can be joined.
func (m *memberAPI) look(ctx context.Context, p v1alpha1.Profile) (memberFacts, error) {
	ns, err := m.typed.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return memberFacts{}, fmt.Errorf("read its identity: %w", err)
	}
	if err := m.recent(p); err != nil {
		return memberFacts{}, err
	}
	installed, err := m.installed(ctx)
	return memberFacts{uid: string(ns.UID), installed: installed}, err
}

func (m *memberAPI) recent(p v1alpha1.Profile) error {
	served, err := m.typed.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("read its version: %w", err)
	}
	v, err := version.ParseGeneric(served.GitVersion)
	if err != nil {
		return fmt.Errorf("read its version: %w", err)
	}
	need := oldest
	if p == v1alpha1.ProfileNamespaces {
		need = oldestNamespaces
	}
	if v.LessThan(version.MustParseGeneric(need)) {
		return fmt.Errorf("it runs Kubernetes %s; the agent with profile %s needs %s or newer", served.GitVersion, p, strings.TrimSuffix(need, ".0"))
	}
	return nil
}

// installed is the ticket of an agent that is there already, nil without one.
func (m *memberAPI) installed(ctx context.Context) (*join.Ticket, error) {
	s, err := m.typed.CoreV1().Secrets(systemNamespace).Get(ctx, join.BootstrapSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for an agent that is there already: %w", err)
	}
	return &join.Ticket{
		Cluster: string(s.Data[join.KeyCluster]), Token: string(s.Data[join.KeyToken]),
		Address: string(s.Data[join.KeyAddress]), Roots: string(s.Data[join.KeyRoots]),
	}, nil
}

// mayInstall names the first right that is missing: half an agent is worse
// than none.
func (m *memberAPI) mayInstall(ctx context.Context, objects []*unstructured.Unstructured) error {
	needed := []authorizationv1.ResourceAttributes{
		// Who gives rights must hold them, or hold these two.
		{Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
	}
	for _, o := range objects {
		mapping, err := m.mapping(o)
		if err != nil {
			return err
		}
		for _, verb := range []string{"create", "patch"} {
			needed = append(needed, authorizationv1.ResourceAttributes{
				Verb: verb, Group: mapping.Resource.Group, Resource: mapping.Resource.Resource, Namespace: o.GetNamespace(),
			})
		}
	}
	asked := map[authorizationv1.ResourceAttributes]bool{}
	for _, right := range needed {
		if asked[right] {
			continue
		}
		asked[right] = true
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right}}
		answer, err := m.typed.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("ask what you may do there: %w", err)
		}
		if !answer.Status.Allowed {
			resource := schema.GroupResource{Group: right.Group, Resource: right.Resource}
			return fmt.Errorf("you may not %s %s there; installing an agent takes a cluster administrator", right.Verb, resource)
		}
	}
	return nil
}

func (m *memberAPI) mapping(o *unstructured.Unstructured) (*meta.RESTMapping, error) {
	gvk := o.GroupVersionKind()
	mapping, err := m.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("it does not serve %s in %s, which its agent needs; is it the API of a hub?", gvk.Kind, gvk.GroupVersion())
	}
	return mapping, err
}

// install applies the manifests as `kubectl apply --server-side` would.
func (m *memberAPI) install(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		mapping, err := m.mapping(o)
		if err != nil {
			return err
		}
		var at dynamic.ResourceInterface = m.dynamic.Resource(mapping.Resource)
		if o.GetNamespace() != "" {
			at = m.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace())
		}
		// Force: the fields of our own objects are nobody else's.
		if _, err := at.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true}); err != nil {
			return fmt.Errorf("install %s %s: %w", strings.ToLower(o.GetKind()), o.GetName(), err)
		}
	}
	return nil
}

// trouble tells what keeps the agent's pod from running, "" when nothing does.
func (m *memberAPI) trouble(ctx context.Context) string {
	pods, err := m.typed.CoreV1().Pods(systemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + join.AgentAccount})
	switch {
	case err != nil:
		return "its pod cannot be looked at: " + err.Error()
	case len(pods.Items) == 0:
		return "there is no pod of it"
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil {
				return fmt.Sprintf("its pod waits: %s %s", w.Reason, w.Message)
			}
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				return "its pod is not scheduled: " + c.Message
			}
		}
	}
	return ""
}

// host is where the context reaches the member, without the port.
func (m *memberAPI) host() string {
	if u, err := url.Parse(m.config.Host); err == nil {
		return u.Hostname()
	}
	return m.config.Host
}

// memberFault words an error of a member's API: who does not answer is the
// member. The cause is told and not wrapped, for what is wrapped reads as the
// hub's (unreachable).
func memberFault(err error) error {
	call := (*url.Error)(nil)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &call):
		return fmt.Errorf("its API does not answer: %v", call.Err)
	case apierrors.IsUnauthorized(err):
		return errors.New("its API does not know you: the credentials are refused or expired")
	default:
		return err
	}
}
