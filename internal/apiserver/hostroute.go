package apiserver

import (
	"context"
	"fmt"
	"net"
	"os"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	admissionapply "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
)

// hostService is by which the host's API server finds the hub that leads.
const hostService = "atoll-hub-leader"

// leaderLabel is on the pod of the hub that leads; in a cluster the Service
// selects it, so that the chart's other Services may do so too.
const leaderLabel = "atoll.dev/hub-leader"

// inside says that this process is a pod of the host.
func (c HostCluster) inside() bool { return c.Kubeconfig == "" }

func (h *Host) port() int32 { return int32(h.listener.Addr().(*net.TCPAddr).Port) }

// externalName is the host under which the host's API server calls this
// process; "" if none is known.
func (h *Host) externalName() string {
	for _, address := range append([]string{h.options.Listen}, h.options.PublicAddresses...) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			return host
		}
	}
	return ""
}

// route lets the Service lead to this process.
func (h *Host) route(ctx context.Context, kube kubernetes.Interface) error {
	spec := coreapply.ServiceSpec()
	if h.cluster.inside() {
		if err := h.markPod(ctx, kube, true); err != nil {
			return err
		}
		spec.WithType(corev1.ServiceTypeClusterIP).WithSelector(map[string]string{leaderLabel: "true"}).
			WithPorts(coreapply.ServicePort().WithName("https").WithPort(h.port()).WithTargetPort(intstr.FromInt32(h.port())))
	} else {
		spec.WithType(corev1.ServiceTypeExternalName).WithExternalName(h.externalName())
	}
	service := coreapply.Service(hostService, h.cluster.Namespace).WithSpec(spec)
	if _, err := kube.CoreV1().Services(h.cluster.Namespace).Apply(ctx, service, applied); err != nil {
		return fmt.Errorf("let Service %s/%s lead to this hub: %w", h.cluster.Namespace, hostService, err)
	}
	return nil
}

// markPod says on the pod that this process runs in whether it leads. A process
// that was killed as the leader has left the label behind.
func (h *Host) markPod(ctx context.Context, kube kubernetes.Interface, leads bool) error {
	name, err := podName()
	if err != nil {
		return err
	}
	value := "null"
	if leads {
		value = `"true"`
	}
	patch := `{"metadata":{"labels":{"` + leaderLabel + `":` + value + `}}}`
	_, err = kube.CoreV1().Pods(h.cluster.Namespace).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("label the hub's own pod %s/%s: %w", h.cluster.Namespace, name, err)
	}
	return nil
}

// podName is what the downward API says, else what Kubernetes makes the host's name.
func podName() (string, error) {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("learn the name of this pod: %w", err)
	}
	return name, nil
}

// specChanged are the writes that wait for a hub: those to labels, finalizers and
// the like pass while none runs, so that what is left of one can be cleared away.
const specChanged = `request.operation != "UPDATE" || !has(object.spec) || !has(oldObject.spec) || object.spec != oldObject.spec`

// marksChanged is every other write. Whose fields are whose, and who overrides that,
// is said in metadata.
const marksChanged = `!(` + specChanged + `)`

// judge has the host ask this process about writes to our kinds. While no hub
// answers, such writes are refused: an unjudged one could not be taken back. A
// deletion, and a write to metadata alone, passes then: what is left of a hub can be
// cleared away.
func (h *Host) judge(ctx context.Context, kube kubernetes.Interface) error {
	writes := h.webhook("hub.atoll.dev", admissionregistrationv1.Create, admissionregistrationv1.Update).
		WithMatchConditions(admissionapply.MatchCondition().WithName("spec-changed").WithExpression(specChanged)).
		WithFailurePolicy(admissionregistrationv1.Fail)
	marks := h.webhook("metadata.hub.atoll.dev", admissionregistrationv1.Update).
		WithMatchConditions(admissionapply.MatchCondition().WithName("only-metadata-changed").WithExpression(marksChanged)).
		WithFailurePolicy(admissionregistrationv1.Ignore)
	deletions := h.webhook("deletions.hub.atoll.dev", admissionregistrationv1.Delete).
		WithFailurePolicy(admissionregistrationv1.Ignore)
	configuration := admissionapply.ValidatingWebhookConfiguration("atoll-hub").WithWebhooks(writes, marks, deletions)
	if _, err := kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Apply(ctx, configuration, applied); err != nil {
		return fmt.Errorf("have the cluster ask this hub about writes: %w", err)
	}
	if h.options.Guard == nil {
		return nil
	}
	return h.haveGuarded(ctx, kube, h.options.Guard.Resource)
}

// guardPath is below that of the other webhooks.
const guardPath = "/guard"

// haveGuarded has the host ask this process what a write lacks. One that it cannot
// ask about is let through here, for the other webhook refuses it.
func (h *Host) haveGuarded(ctx context.Context, kube kubernetes.Interface, of schema.GroupVersionResource) error {
	guard := admissionapply.MutatingWebhook().
		WithName("guard.hub.atoll.dev").
		WithClientConfig(h.callback(h.admission + guardPath)).
		WithRules(admissionapply.RuleWithOperations().
			WithAPIGroups(of.Group).WithAPIVersions(of.Version).WithResources(of.Resource).
			WithOperations(admissionregistrationv1.Create, admissionregistrationv1.Update)).
		WithMatchConditions(admissionapply.MatchCondition().WithName("spec-changed").WithExpression(specChanged)).
		WithFailurePolicy(admissionregistrationv1.Ignore).
		WithSideEffects(admissionregistrationv1.SideEffectClassNone).
		WithAdmissionReviewVersions("v1").
		WithTimeoutSeconds(int32(reviewTimeout.Seconds()))
	configuration := admissionapply.MutatingWebhookConfiguration("atoll-hub").WithWebhooks(guard)
	if _, err := kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Apply(ctx, configuration, applied); err != nil {
		return fmt.Errorf("have the cluster ask this hub about finalizers: %w", err)
	}
	return nil
}

// callback is how the host's API server reaches a path of this process.
func (h *Host) callback(path string) *admissionapply.WebhookClientConfigApplyConfiguration {
	at := admissionapply.WebhookClientConfig().WithCABundle(h.authority.CertPEM...)
	if h.cluster.inside() {
		return at.WithService(admissionapply.ServiceReference().
			WithNamespace(h.cluster.Namespace).WithName(hostService).WithPort(h.port()).WithPath(path))
	}
	return at.WithURL("https://" + net.JoinHostPort(h.externalName(), fmt.Sprint(h.port())) + path)
}

// webhook asks this process about operations on all of our kinds.
func (h *Host) webhook(name string, operations ...admissionregistrationv1.OperationType) *admissionapply.ValidatingWebhookApplyConfiguration {
	groups := map[string]bool{}
	rules := []*admissionapply.RuleWithOperationsApplyConfiguration{}
	for _, crd := range h.options.CRDs {
		if groups[crd.Spec.Group] {
			continue
		}
		groups[crd.Spec.Group] = true
		rules = append(rules, admissionapply.RuleWithOperations().
			WithAPIGroups(crd.Spec.Group).WithAPIVersions("*").WithResources("*").
			WithOperations(operations...))
	}
	return admissionapply.ValidatingWebhook().
		WithName(name).
		WithClientConfig(h.callback(h.admission)).
		WithRules(rules...).
		WithSideEffects(admissionregistrationv1.SideEffectClassNoneOnDryRun).
		WithAdmissionReviewVersions("v1").
		WithTimeoutSeconds(int32(reviewTimeout.Seconds()))
}
