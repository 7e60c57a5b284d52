package component

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/sandbox/traffic"
)

// balancers plays the cloud that gives addresses to Services of type
// LoadBalancer, and balances at them.
type balancers struct {
	client    kubernetes.Interface
	services  corelisters.ServiceLister
	slices    discoverylisters.EndpointSliceLister
	addresses *balancerAddresses // of the one worker
	traffic   *traffic.Balancers
	queue     workqueue.TypedRateLimitingInterface[types.NamespacedName]
}

// balanceLoads gives each Service of type LoadBalancer an address of its own
// and carries what connects there to ready pods. It takes both away when the
// type changes. While the API server is dead it goes on with what it knew.
func balanceLoads(ctx context.Context, client kubernetes.Interface, state sandbox.State, pods *traffic.Pods) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	services, slices := factory.Core().V1().Services(), factory.Discovery().V1().EndpointSlices()
	addresses, err := newBalancerAddresses(state.LoadBalancerCIDR())
	if err != nil {
		return err
	}
	b := &balancers{
		client: client, services: services.Lister(), slices: slices.Lister(),
		addresses: addresses, traffic: traffic.NewBalancers(pods),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](50*time.Millisecond, 10*time.Second)),
	}
	if err := errors.Join(b.follow(services.Informer(), nameOf), b.follow(slices.Informer(), serviceOf)); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if err := b.adoptAddresses(); err != nil {
		return err
	}
	context.AfterFunc(ctx, b.queue.ShutDown)
	for b.next(ctx) {
	}
	return ctx.Err()
}

func (b *balancers) follow(informer cache.SharedIndexInformer, service func(any) types.NamespacedName) error {
	enqueue := func(object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		b.queue.Add(service(object))
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
		DeleteFunc: enqueue,
	})
	return err
}

func nameOf(object any) types.NamespacedName {
	service := object.(*corev1.Service)
	return types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
}

func serviceOf(object any) types.NamespacedName {
	slice := object.(*discoveryv1.EndpointSlice)
	return types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
}

// adoptAddresses comes before any address is given: a Service that had one
// before a restart must not find it given away.
func (b *balancers) adoptAddresses() error {
	services, err := b.services.List(labels.Everything())
	if err != nil {
		return err
	}
	for _, service := range services {
		if ingress := service.Status.LoadBalancer.Ingress; len(ingress) == 1 && isBalanced(service) {
			b.addresses.adopt(nameOf(service), ingress[0].IP)
		}
	}
	return nil
}

func (b *balancers) next(ctx context.Context) bool {
	name, shutdown := b.queue.Get()
	if shutdown {
		return false
	}
	defer b.queue.Done(name)
	if err := b.sync(ctx, name); err != nil {
		runtime.HandleErrorWithContext(ctx, err, "Load balancer not done", "service", name)
		b.queue.AddRateLimited(name)
		return true
	}
	b.queue.Forget(name)
	return true
}

func isBalanced(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil && service.DeletionTimestamp == nil
}

func (b *balancers) sync(ctx context.Context, name types.NamespacedName) error {
	service, err := b.services.Services(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) || !isBalanced(service) {
		ended := b.traffic.Set(name, nil)
		b.addresses.free(name)
		if err != nil || service.Spec.LoadBalancerClass != nil {
			return ended
		}
		return errors.Join(ended, b.record(ctx, service, nil))
	}
	ip, err := b.addresses.of(name)
	if err != nil {
		return fmt.Errorf("give service %s an address: %w", name, err)
	}
	frontends, err := b.frontends(service, ip)
	if err != nil {
		return err
	}
	// Traffic first: it must not depend on whether the API answers.
	return errors.Join(b.traffic.Set(name, frontends),
		b.record(ctx, service, []corev1.LoadBalancerIngress{{IP: ip.String(), Ports: portsOf(service, ip)}}))
}

func (b *balancers) frontends(service *corev1.Service, ip netip.Addr) ([]traffic.Frontend, error) {
	slices, err := b.slices.EndpointSlices(service.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service.Name}))
	if err != nil {
		return nil, err
	}
	var frontends []traffic.Frontend
	for _, port := range service.Spec.Ports {
		if port.Protocol == "" || port.Protocol == corev1.ProtocolTCP {
			frontends = append(frontends, traffic.Frontend{
				At:        netip.AddrPortFrom(ip, uint16(port.Port)),
				Endpoints: readyEndpoints(slices, port.Name),
				Sticky:    service.Spec.SessionAffinity == corev1.ServiceAffinityClientIP,
			})
		}
	}
	return frontends, nil
}

// readyEndpoints finds the endpoints of one port of a Service. Names of target
// ports and publishNotReadyAddresses were seen to by the controller.
func readyEndpoints(slices []*discoveryv1.EndpointSlice, portName string) []traffic.Endpoint {
	seen := map[traffic.Endpoint]bool{}
	var ready []traffic.Endpoint
	for _, slice := range slices {
		for _, port := range slice.Ports {
			if port.Port == nil || (port.Name != nil && *port.Name != portName) || (port.Name == nil && portName != "") {
				continue
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready || len(e.Addresses) == 0 {
					continue
				}
				// A pod is in two slices for the moment in which it moves.
				if found := (traffic.Endpoint{IP: e.Addresses[0], Port: *port.Port}); !seen[found] {
					seen[found] = true
					ready = append(ready, found)
				}
			}
		}
	}
	return ready
}

// portsOf says of each port whether it is served, where that is not as asked.
// It is nil when all are.
func portsOf(service *corev1.Service, ip netip.Addr) []corev1.PortStatus {
	var ports []corev1.PortStatus
	asAsked := true
	for _, port := range service.Spec.Ports {
		status := corev1.PortStatus{Port: port.Port, Protocol: port.Protocol}
		problem := ""
		if port.Protocol != corev1.ProtocolTCP {
			problem = driverName + "/OnlyTCPIsBalanced"
		} else if served := traffic.ServedAt(netip.AddrPortFrom(ip, uint16(port.Port))); served != port.Port {
			problem = fmt.Sprintf("%s/ServedAtPort%d", driverName, served)
		}
		if problem != "" {
			status.Error, asAsked = &problem, false
		}
		ports = append(ports, status)
	}
	if asAsked {
		return nil
	}
	return ports
}

func (b *balancers) record(ctx context.Context, service *corev1.Service, ingress []corev1.LoadBalancerIngress) error {
	if sameIngress(service.Status.LoadBalancer.Ingress, ingress) {
		return nil
	}
	service = service.DeepCopy()
	service.Status.LoadBalancer.Ingress = ingress
	_, err := b.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, service, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the newer object comes by itself
	}
	if err != nil {
		return fmt.Errorf("record the address of service %s/%s: %w", service.Namespace, service.Name, err)
	}
	return nil
}

// sameIngress leaves out what the API server fills in.
func sameIngress(have, want []corev1.LoadBalancerIngress) bool {
	if len(have) != len(want) {
		return false
	}
	for i := range have {
		if have[i].IP != want[i].IP || !equality.Semantic.DeepEqual(have[i].Ports, want[i].Ports) {
			return false
		}
	}
	return true
}
