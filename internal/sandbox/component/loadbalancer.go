package component

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"atoll.dev/atoll/internal/sandbox"
)

// balancers plays the cloud that gives addresses to Services of type
// LoadBalancer.
type balancers struct {
	client   kubernetes.Interface
	services corelisters.ServiceLister
	address  string
	queue    workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

// balanceLoads gives each Service of type LoadBalancer the first node's
// address, as a balancer that runs on the nodes would, and takes it away when
// the type changes. Nothing listens there.
func balanceLoads(ctx context.Context, client kubernetes.Interface, state sandbox.State) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	b := &balancers{
		client: client, services: services.Lister(), address: state.NodeIP(0),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](50*time.Millisecond, 10*time.Second)),
	}
	enqueue := func(object any) {
		if name, err := cache.ObjectToName(object); err == nil {
			b.queue.Add(name)
		}
	}
	// The error is only that the informer has stopped, and it has not begun.
	_, _ = services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
	})
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	context.AfterFunc(ctx, b.queue.ShutDown)
	for b.next(ctx) {
	}
	return ctx.Err()
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

func (b *balancers) sync(ctx context.Context, name cache.ObjectName) error {
	service, err := b.services.Services(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) || service.DeletionTimestamp != nil || service.Spec.LoadBalancerClass != nil {
		return nil
	}
	given := len(service.Status.LoadBalancer.Ingress) > 0
	if wanted := service.Spec.Type == corev1.ServiceTypeLoadBalancer; wanted == given {
		return nil
	}
	service = service.DeepCopy()
	service.Status.LoadBalancer.Ingress = nil
	if !given {
		service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: b.address}}
	}
	_, err = b.client.CoreV1().Services(name.Namespace).UpdateStatus(ctx, service, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the newer object comes by itself
	}
	if err != nil {
		return fmt.Errorf("give service %s an address: %w", name, err)
	}
	return nil
}
