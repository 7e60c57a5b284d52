package component

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"atoll.dev/atoll/internal/sandbox/podprocess"
	"atoll.dev/atoll/internal/sandbox/traffic"
)

// As kubelets have them.
const (
	streamIdle     = 4 * time.Hour
	streamCreation = 30 * time.Second
)

func (k *kubelets) exec(w http.ResponseWriter, r *http.Request) {
	if s, options, ok := k.shellFor(w, r); ok {
		name := r.PathValue("container")
		remotecommand.ServeExec(w, r, s, s.pod.Name, string(s.pod.UID), name, r.URL.Query()["command"], options, streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
	}
}

func (k *kubelets) attach(w http.ResponseWriter, r *http.Request) {
	if s, options, ok := k.shellFor(w, r); ok {
		remotecommand.ServeAttach(w, r, s, s.pod.Name, string(s.pod.UID), r.PathValue("container"), options, streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
	}
}

// shellFor finds the container that a request names, if it runs.
func (k *kubelets) shellFor(w http.ResponseWriter, r *http.Request) (*shell, *remotecommand.Options, bool) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, nil, false
	}
	pod, err := k.client.CoreV1().Pods(r.PathValue("namespace")).Get(r.Context(), r.PathValue("pod"), metav1.GetOptions{})
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return nil, nil, false
	}
	name := r.PathValue("container")
	if podprocess.Runs(pod) {
		http.Error(w, fmt.Sprintf("no command is run in %s: its image holds the agent and nothing else, and the sandbox runs nothing besides", name), http.StatusNotImplemented)
		return nil, nil, false
	}
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
	runs := slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name && s.State.Running != nil })
	if i < 0 || !runs {
		http.Error(w, fmt.Sprintf("container %s of pod %s/%s does not run", name, pod.Namespace, pod.Name), http.StatusBadRequest)
		return nil, nil, false
	}
	container := &pod.Spec.Containers[i]
	env := podEnv{client: k.client, pod: pod}
	return &shell{
		pod: pod, container: container, files: podFiles{env}.of,
		env: func(ctx context.Context) (map[string]string, error) { return env.of(ctx, container) },
	}, options, true
}

func (k *kubelets) portForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod, err := k.client.CoreV1().Pods(r.PathValue("namespace")).Get(r.Context(), r.PathValue("pod"), metav1.GetOptions{})
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	to := forwarder{pods: k.pods, ip: pod.Status.PodIP}
	portforward.ServePortForward(w, r, to, pod.Name, string(pod.UID), options, streamIdle, streamCreation, portforward.SupportedProtocols)
}

// forwarder connects streams to where a pod really listens.
type forwarder struct {
	pods *traffic.Pods
	ip   string
}

func (f forwarder) PortForward(ctx context.Context, name, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	at, ok := f.pods.Where(f.ip, port)
	if !ok {
		return fmt.Errorf("pod %s does not listen at port %d: the sandbox listens at the TCP ports that a ready pod declares", name, port)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp4", at.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, stream) // ends with either end
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}
