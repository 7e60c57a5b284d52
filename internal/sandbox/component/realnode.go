package component

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"

	"atoll.dev/atoll/internal/imagebuild"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/sandbox/realnode"
)

// pauseArchive is in the cluster's directory.
const pauseArchive = "node/pause.tar"

// runNode is the real node of a cluster.
func runNode(args []string) error {
	flags := pflag.NewFlagSet(sandbox.Node, pflag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	statePath := flags.String("state", "", "the cluster's state.json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	state, err := sandbox.ReadState(*statePath)
	if err != nil {
		return err
	}
	dir := filepath.Dir(*statePath)
	programs, err := sandbox.NodePrograms()
	if err != nil {
		return err
	}
	end := func() {
		if err := realnode.End(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	onOrphaned.Store(&end)
	if err := buildPause(programs, filepath.Join(dir, pauseArchive)); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	go func() {
		if err := introduceNode(context.Background(), client, state); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	node, err := buildNode(state, 0)
	if err != nil {
		return err
	}
	return errors.Join(realnode.Run(realnode.Config{
		Name: node.Name, ProviderID: node.Spec.ProviderID, Labels: nodeLabels(node.Labels),
		Dir: dir, Programs: programs, PauseArchive: pauseArchive, Network: state.NodeNetwork(),
	}), realnode.End(dir))
}

// nodeLabels are those that a kubelet says of its node. What it finds out
// itself it is not told.
func nodeLabels(all map[string]string) map[string]string {
	labels := maps.Clone(all)
	for _, key := range []string{corev1.LabelHostname, corev1.LabelOSStable, corev1.LabelArchStable} {
		delete(labels, key)
	}
	return labels
}

func buildPause(programs, archive string) error {
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return err
	}
	build, err := imagebuild.New(imagebuild.Spec{Name: "pause", Version: "1"}, filepath.Join(programs, "pause"))
	if err != nil {
		return err
	}
	return build.WriteTar(archive, realnode.PauseImage)
}

// introduceNode says where the kubernetes Service leads: the API server cannot,
// since its own address is one of loopback. And it lets kube-proxy see what it
// distributes.
func introduceNode(ctx context.Context, client kubernetes.Interface, state sandbox.State) error {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: "kubernetes", Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes", discoveryv1.LabelManagedBy: "atoll-sandbox"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{state.NodeNetwork().NodeIP},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To[int32](realnode.APIPort), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return insist(ctx, "say where the kubernetes Service leads", func() error {
		_, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Create(ctx, slice, metav1.CreateOptions{})
		return err
	})
}
