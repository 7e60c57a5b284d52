package component

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	aggregation "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"atoll.dev/atoll/internal/sandbox"
)

// registerMetrics tells the API server where metrics.k8s.io is answered, with
// the names and rights that metrics-server's manifests give.
func registerMetrics(ctx context.Context, config *rest.Config, client kubernetes.Interface, state sandbox.State, pki string) error {
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	registry, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	service, role, api := metricsService(state), metricsReader(), metricsAPI(state, ca)
	for what, create := range map[string]func() error{
		"service " + service.Name: func() error {
			_, err := client.CoreV1().Services(service.Namespace).Create(ctx, service, metav1.CreateOptions{})
			return err
		},
		"cluster role " + role.Name: func() error {
			_, err := client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{})
			return err
		},
		"API service " + api.Name: func() error {
			_, err := registry.ApiregistrationV1().APIServices().Create(ctx, api, metav1.CreateOptions{})
			return err
		},
	} {
		if err := insist(ctx, "create "+what, create); err != nil {
			return err
		}
	}
	return nil
}

// metricsService has an external name, since no cluster IP leads anywhere.
func metricsService(state sandbox.State) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: sandbox.MetricsService},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: state.MetricsIP()},
	}
}

func metricsReader() *rbacv1.ClusterRole {
	labels := map[string]string{}
	for _, role := range []string{"admin", "edit", "view"} {
		labels["rbac.authorization.k8s.io/aggregate-to-"+role] = "true"
	}
	return &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "system:aggregated-metrics-reader", Labels: labels},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{metricsv1beta1.GroupName}, Resources: []string{"pods", "nodes"}, Verbs: []string{"get", "list"}}},
	}
}

func metricsAPI(state sandbox.State, ca []byte) *aggregation.APIService {
	group, port := metricsv1beta1.SchemeGroupVersion, int32(state.Ports.Kubelet)
	return &aggregation.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: group.Version + "." + group.Group},
		Spec: aggregation.APIServiceSpec{
			Group: group.Group, Version: group.Version, GroupPriorityMinimum: 100, VersionPriority: 100, CABundle: ca,
			Service: &aggregation.ServiceReference{Namespace: metav1.NamespaceSystem, Name: sandbox.MetricsService, Port: &port},
		},
	}
}
