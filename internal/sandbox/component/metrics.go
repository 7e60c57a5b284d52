package component

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"atoll.dev/atoll/internal/sandbox/traffic"
	"atoll.dev/atoll/internal/sandbox/usage"
)

// metrics answers metrics.k8s.io. It keeps nothing: it is asked seldom, and
// the API server has every pod and node in its cache.
type metrics struct {
	client kubernetes.Interface
	pods   *traffic.Pods
}

// serve answers the API server alone, which has seen to it that the caller
// may ask.
func (m *metrics) serve(ctx context.Context, address, pki string) error {
	config, err := serverTLS(pki, "metrics", "front-proxy-ca", "front-proxy-client")
	if err != nil {
		return fmt.Errorf("serve metrics: %w", err)
	}
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("serve metrics: %w", err)
	}
	server := &http.Server{
		Handler: m.handler(), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: log.New(os.Stderr, "metrics: ", log.LstdFlags),
	}
	context.AfterFunc(ctx, func() { server.Close() })
	return server.Serve(tls.NewListener(listener, config))
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	for path, answer := range map[string]func(*http.Request) (any, error){
		"":                                    m.discovery,
		"/nodes":                              m.listNodes,
		"/nodes/{name}":                       m.getNode,
		"/pods":                               m.listPods,
		"/namespaces/{namespace}/pods":        m.listPods,
		"/namespaces/{namespace}/pods/{name}": m.getPod,
	} {
		mux.HandleFunc("GET /apis/"+metricsv1beta1.SchemeGroupVersion.String()+path, func(w http.ResponseWriter, r *http.Request) {
			status := http.StatusOK
			object, err := answer(r)
			if err != nil {
				object, status = statusObject(err), statusOf(err)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(object) // the caller has gone
		})
	}
	return mux
}

func statusObject(err error) metav1.Status {
	if status, ok := err.(apierrors.APIStatus); ok {
		s := status.Status()
		s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		return s
	}
	return statusObject(apierrors.NewInternalError(err))
}

func (m *metrics) discovery(*http.Request) (any, error) {
	verbs := metav1.Verbs{"get", "list"}
	return metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"},
		GroupVersion: metricsv1beta1.SchemeGroupVersion.String(),
		APIResources: []metav1.APIResource{
			{Name: "nodes", Kind: "NodeMetrics", Verbs: verbs},
			{Name: "pods", Kind: "PodMetrics", Namespaced: true, Verbs: verbs},
		},
	}, nil
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: metricsv1beta1.SchemeGroupVersion.String(), Kind: kind}
}

// fromCache lets the API server answer from memory.
const fromCache = "0"

func listOptions(r *http.Request) metav1.ListOptions {
	query := r.URL.Query()
	return metav1.ListOptions{LabelSelector: query.Get("labelSelector"), FieldSelector: query.Get("fieldSelector"), ResourceVersion: fromCache}
}

func (m *metrics) listPods(r *http.Request) (any, error) {
	pods, err := m.client.CoreV1().Pods(r.PathValue("namespace")).List(r.Context(), listOptions(r))
	if err != nil {
		return nil, err
	}
	list := metricsv1beta1.PodMetricsList{TypeMeta: typeMeta("PodMetricsList"), Items: []metricsv1beta1.PodMetrics{}}
	now := time.Now()
	for i := range pods.Items {
		if found, ok := m.ofPod(&pods.Items[i], now); ok {
			list.Items = append(list.Items, found)
		}
	}
	return list, nil
}

func (m *metrics) getPod(r *http.Request) (any, error) {
	name := r.PathValue("name")
	pod, err := m.client.CoreV1().Pods(r.PathValue("namespace")).Get(r.Context(), name, metav1.GetOptions{ResourceVersion: fromCache})
	if err != nil {
		return nil, err
	}
	if found, ok := m.ofPod(pod, time.Now()); ok {
		found.TypeMeta = typeMeta("PodMetrics")
		return found, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Group: metricsv1beta1.GroupName, Resource: "pods"}, name)
}

// ofPod has an answer only when each container runs, as metrics-server does.
func (m *metrics) ofPod(pod *corev1.Pod, now time.Time) (metricsv1beta1.PodMetrics, bool) {
	runs := func(c corev1.Container) bool {
		return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == c.Name && s.State.Running != nil })
	}
	found := metricsv1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, Labels: pod.Labels, CreationTimestamp: metav1.NewTime(now)},
		Timestamp:  metav1.NewTime(now.Truncate(time.Second)), Window: metav1.Duration{Duration: usage.Window},
	}
	for _, c := range pod.Spec.Containers {
		if !runs(c) {
			return found, false
		}
		served := m.pods.Served(pod.UID, types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, c.Name, now)
		found.Containers = append(found.Containers, metricsv1beta1.ContainerMetrics{Name: c.Name, Usage: usage.Container(c.Resources, served)})
	}
	return found, pod.Status.Phase == corev1.PodRunning
}

func (m *metrics) listNodes(r *http.Request) (any, error) {
	nodes, err := m.client.CoreV1().Nodes().List(r.Context(), listOptions(r))
	if err != nil {
		return nil, err
	}
	return m.ofNodes(r.Context(), nodes.Items)
}

func (m *metrics) getNode(r *http.Request) (any, error) {
	node, err := m.client.CoreV1().Nodes().Get(r.Context(), r.PathValue("name"), metav1.GetOptions{ResourceVersion: fromCache})
	if err != nil {
		return nil, err
	}
	list, err := m.ofNodes(r.Context(), []corev1.Node{*node})
	if err != nil {
		return nil, err
	}
	list.Items[0].TypeMeta = typeMeta("NodeMetrics")
	return list.Items[0], nil
}

func (m *metrics) ofNodes(ctx context.Context, nodes []corev1.Node) (metricsv1beta1.NodeMetricsList, error) {
	list := metricsv1beta1.NodeMetricsList{TypeMeta: typeMeta("NodeMetricsList"), Items: []metricsv1beta1.NodeMetrics{}}
	pods, err := m.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{ResourceVersion: fromCache})
	if err != nil {
		return list, err
	}
	now, on := time.Now(), map[string][]corev1.ResourceList{}
	for i := range pods.Items {
		if found, ok := m.ofPod(&pods.Items[i], now); ok {
			for _, c := range found.Containers {
				node := pods.Items[i].Spec.NodeName
				on[node] = append(on[node], c.Usage)
			}
		}
	}
	for _, node := range nodes {
		list.Items = append(list.Items, metricsv1beta1.NodeMetrics{
			ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels, CreationTimestamp: metav1.NewTime(now)},
			Timestamp:  metav1.NewTime(now.Truncate(time.Second)), Window: metav1.Duration{Duration: usage.Window},
			Usage: usage.Node(node.Status.Allocatable, on[node.Name]),
		})
	}
	return list, nil
}
