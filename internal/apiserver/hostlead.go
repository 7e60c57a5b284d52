package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	rbacapply "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Lead installs what the host needs to serve our kinds, makes it send its calls
// to this process, and returns when it does. It writes by config, which may
// refuse a hub that leads no longer. term tells this time of leading from others.
func (h *Host) Lead(ctx context.Context, config *rest.Config, term string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make the client of the host cluster: %w", err)
	}
	if err := checkGrowth(ctx, config, h.options.CRDs); err != nil {
		return err
	}
	if err := installCRDs(ctx, config, h.options.CRDs); err != nil {
		return err
	}
	if err := h.grantAdmins(ctx, kube); err != nil {
		return err
	}
	if err := h.route(ctx, kube); err != nil {
		return err
	}
	if err := h.judge(ctx, kube); err != nil {
		return err
	}
	return h.serveAPIs(ctx, kube, term)
}

// grantAdmins gives the admins' group our own kinds, and nothing else of a
// cluster that others use too.
func (h *Host) grantAdmins(ctx context.Context, kube kubernetes.Interface) error {
	groups := map[string]bool{}
	for _, crd := range h.options.CRDs {
		groups[crd.Spec.Group] = true
	}
	for _, api := range h.options.APIs {
		groups[api.GroupVersion.Group] = true
	}
	role := rbacapply.ClusterRole(AdminGroup)
	for group := range groups {
		role.WithRules(rbacapply.PolicyRule().WithAPIGroups(group).WithResources("*").WithVerbs("*"))
	}
	binding := rbacapply.ClusterRoleBinding(AdminGroup).
		WithRoleRef(rbacapply.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName(AdminGroup)).
		WithSubjects(rbacapply.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.GroupKind).WithName(AdminGroup))
	if _, err := kube.RbacV1().ClusterRoles().Apply(ctx, role, applied); err != nil {
		return fmt.Errorf("make the role of group %s: %w", AdminGroup, err)
	}
	if _, err := kube.RbacV1().ClusterRoleBindings().Apply(ctx, binding, applied); err != nil {
		return fmt.Errorf("bind group %s to its role: %w", AdminGroup, err)
	}
	return nil
}

var applied = metav1.ApplyOptions{FieldManager: fieldManager, Force: true}

const apiServicesPath = "/apis/apiregistration.k8s.io/v1/apiservices/"

// apiService is as much of an APIService as is needed here; the type lies in a
// module that is otherwise the aggregator itself.
type apiService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              apiServiceSpec `json:"spec"`
	Status            struct {
		Conditions []metav1.Condition `json:"conditions,omitempty"`
	} `json:"status,omitzero"`
}

type apiServiceSpec struct {
	Group                string            `json:"group"`
	Version              string            `json:"version"`
	GroupPriorityMinimum int               `json:"groupPriorityMinimum"`
	VersionPriority      int               `json:"versionPriority"`
	CABundle             []byte            `json:"caBundle"`
	Service              *serviceReference `json:"service"`
}

type serviceReference struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Port      int32  `json:"port"`
}

func (a *API) serviceName() string { return a.GroupVersion.Version + "." + a.GroupVersion.Group }

// serveAPIs registers our APIs with the host's aggregator. The term makes each
// a change: the aggregator then asks at once whether the hub answers, where it
// might wait half a minute after one that was away.
func (h *Host) serveAPIs(ctx context.Context, kube kubernetes.Interface, term string) error {
	for i := range h.options.APIs {
		api := &h.options.APIs[i]
		wanted := apiService{
			TypeMeta:   metav1.TypeMeta{APIVersion: "apiregistration.k8s.io/v1", Kind: "APIService"},
			ObjectMeta: metav1.ObjectMeta{Name: api.serviceName(), Annotations: map[string]string{"atoll.dev/term": term}},
			Spec: apiServiceSpec{
				Group: api.GroupVersion.Group, Version: api.GroupVersion.Version,
				GroupPriorityMinimum: mountedPriority, VersionPriority: 15,
				CABundle: h.authority.CertPEM,
				Service:  &serviceReference{Namespace: h.cluster.Namespace, Name: hostService, Port: h.port()},
			},
		}
		data, err := json.Marshal(wanted)
		if err != nil {
			return fmt.Errorf("encode APIService %s: %w", wanted.Name, err)
		}
		err = kube.Discovery().RESTClient().Patch(types.ApplyPatchType).AbsPath(apiServicesPath+wanted.Name).
			Param("fieldManager", fieldManager).Param("force", "true").Body(data).Do(ctx).Error()
		if err != nil {
			return fmt.Errorf("register APIService %s: %w", wanted.Name, err)
		}
		if err := h.awaitAvailable(ctx, kube, wanted.Name); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) awaitAvailable(ctx context.Context, kube kubernetes.Interface, name string) error {
	last := "its API server has not tried yet"
	err := wait.PollUntilContextCancel(ctx, 5*pollInterval, true, func(ctx context.Context) (bool, error) {
		service, err := getAPIService(ctx, kube, name)
		if err != nil {
			last = err.Error()
			return false, nil
		}
		for _, c := range service.Status.Conditions {
			if c.Type == "Available" {
				last = c.Message
				return c.Status == metav1.ConditionTrue, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("the cluster cannot reach this hub for APIService %s at %s, port %d (its API server must be able to call --listen): %s: %w",
			name, h.externalName(), h.port(), last, err)
	}
	return nil
}

func getAPIService(ctx context.Context, kube kubernetes.Interface, name string) (apiService, error) {
	var service apiService
	data, err := kube.Discovery().RESTClient().Get().AbsPath(apiServicesPath + name).DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(data, &service)
	}
	return service, err
}

// checkAlone refuses a host that another hub uses from another namespace: the
// definitions, and the objects of the whole cluster, are there once.
func (h *Host) checkAlone(ctx context.Context) error {
	for i := range h.options.APIs {
		service, err := getAPIService(ctx, h.kube, h.options.APIs[i].serviceName())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for another hub of the cluster at %s: %w", h.config.Host, err)
		}
		if s := service.Spec.Service; s != nil && s.Namespace != h.cluster.Namespace {
			return fmt.Errorf("this cluster has a hub already, in namespace %s: start this one with --namespace %s to stand by for it; if that hub is gone for good, delete APIService %s",
				s.Namespace, s.Namespace, service.Name)
		}
	}
	return nil
}

// reviewTimeout is how long the host waits for a verdict.
const reviewTimeout = 10 * time.Second

var errNoHost = errors.New("the cluster must know where to call this hub: let --listen name an address that its API server reaches, or give --public-address")
