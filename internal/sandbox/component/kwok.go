package component

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/utils/client"
	"sigs.k8s.io/kwok/pkg/utils/gotpl"

	"atoll.dev/atoll/internal/sandbox"
)

// kubeletID holds every node's lease. It is the same for each run, so that a
// restarted kwok takes its nodes back at once instead of when the leases of
// its former self expire.
const kubeletID = "atoll-sandbox"

// runKwok creates the nodes and storage classes of a cluster and plays the
// kubelets, the volume driver, the pods' servers, the load balancer and
// metrics-server.
func runKwok(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet(sandbox.Kwok, pflag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	statePath := flags.String("state", "", "the cluster's state.json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	state, err := sandbox.ReadState(*statePath)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1
	config = insistent(config)
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	pods, err := newTraffic(state)
	if err != nil {
		return err
	}
	pki := filepath.Join(filepath.Dir(*statePath), "pki")
	group, ctx := errgroup.WithContext(ctx)
	agents, err := newAgents(ctx, typed, state, filepath.Dir(*statePath))
	if err != nil {
		return err
	}
	group.Go(func() error { return populate(ctx, typed, state) })
	group.Go(func() error { return playKubelets(ctx, *kubeconfig, typed, state) })
	group.Go(func() error { return provisionVolumes(ctx, typed) })
	group.Go(func() error { return balanceLoads(ctx, typed, state, pods) })
	group.Go(func() error { return listenForPods(ctx, typed, pods, agents) })
	group.Go(func() error {
		k := &kubelets{client: typed, pods: pods, agents: agents}
		return k.serve(ctx, state, pki)
	})
	group.Go(func() error { return registerMetrics(ctx, config, typed, state, pki) })
	group.Go(func() error {
		m := &metrics{client: typed, pods: pods}
		return m.serve(ctx, net.JoinHostPort(state.MetricsIP(), strconv.Itoa(state.Ports.Kubelet)), pki)
	})
	return group.Wait()
}

func playKubelets(ctx context.Context, kubeconfig string, typed kubernetes.Interface, state sandbox.State) error {
	stages, err := loadStages()
	if err != nil {
		return err
	}
	addresses, err := newPodAddresses(ctx, typed, state)
	if err != nil {
		return err
	}
	clients, err := client.NewClientset("", kubeconfig)
	if err != nil {
		return err
	}
	dynamic, err := clients.ToDynamicClient()
	if err != nil {
		return err
	}
	mapper, err := clients.ToRESTMapper()
	if err != nil {
		return err
	}
	controller, err := controllers.NewController(controllers.Config{
		Clock:                     clock.RealClock{},
		DynamicClient:             dynamic,
		RESTMapper:                mapper,
		TypedClient:               typed,
		ManageAllNodes:            true,
		CIDR:                      state.PodCIDR(),
		NodeIP:                    "127.0.0.1",
		NodePort:                  state.Ports.Kubelet,
		LocalStages:               stages,
		PodPlayStageParallelism:   8,
		NodePlayStageParallelism:  4,
		NodeLeaseDurationSeconds:  40,
		NodeLeaseParallelism:      4,
		PodsOnNodeSyncParallelism: 2,
		ID:                        kubeletID,
		FuncMap:                   gotpl.FuncMap{"PodIPsWith": addresses.forPod},
	})
	if err != nil {
		return fmt.Errorf("configure kwok: %w", err)
	}
	if err := dropLeases(ctx, typed); err != nil {
		return err
	}
	if err := controller.Start(ctx); err != nil {
		return fmt.Errorf("start kwok: %w", err)
	}
	<-ctx.Done()
	return ctx.Err()
}

// dropLeases removes the node leases of a former run. KWOK takes a node on
// when it creates or renews the lease, but at its start it may try to create
// one that it has not seen yet, and then waits ten seconds to try again.
func dropLeases(ctx context.Context, client kubernetes.Interface) error {
	leases := client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	list, err := leases.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list node leases: %w", err)
	}
	for _, lease := range list.Items {
		if holder := lease.Spec.HolderIdentity; holder == nil || *holder != kubeletID {
			continue
		}
		if err := leases.Delete(ctx, lease.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("drop lease of node %s: %w", lease.Name, err)
		}
	}
	return nil
}
