package component

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/sandbox/podprocess"
	"atoll.dev/atoll/internal/sandbox/traffic"
)

// apiServerUser is who the API server is to kubelets. Everyone else with a
// certificate of the cluster is turned away: a user's would otherwise do.
const apiServerUser = "kube-apiserver-kubelet-client"

// kubelets answer for all nodes of a cluster.
type kubelets struct {
	client kubernetes.Interface
	pods   *traffic.Pods
	agents *podprocess.Kubelet
}

// serve answers on each node's address what the API server asks of a kubelet:
// logs, commands in containers, and connections to their ports.
func (k *kubelets) serve(ctx context.Context, state sandbox.State, pki string) error {
	config, err := serverTLS(pki, "kubelet", "ca", apiServerUser)
	if err != nil {
		return fmt.Errorf("serve kubelets: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.logs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.exec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", k.attach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.portForward)
	mux.HandleFunc("/", notSimulated)
	server := &http.Server{
		Handler: mux, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: log.New(os.Stderr, "kubelet: ", log.LstdFlags),
	}
	context.AfterFunc(ctx, func() { server.Close() })
	ended := make(chan error, state.Spec.Nodes)
	for n := range state.Spec.Nodes {
		listener, err := net.Listen("tcp", net.JoinHostPort(state.NodeIP(n), strconv.Itoa(state.Ports.Kubelet)))
		if err != nil {
			return fmt.Errorf("serve kubelet of node %s: %w", nodeName(state.Spec, n), err)
		}
		go func() { ended <- server.ServeTLS(listener, "", "") }()
	}
	return <-ended
}

// serverTLS serves with one pair of the cluster to one user of one authority.
func serverTLS(pki, pair, authority, user string) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(filepath.Join(pki, pair+".crt"), filepath.Join(pki, pair+".key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(pki, authority+".crt"))
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{own},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		VerifyConnection: func(c tls.ConnectionState) error {
			if who := c.PeerCertificates[0].Subject.CommonName; who != user {
				return fmt.Errorf("%q is not the API server", who)
			}
			return nil
		},
	}, nil
}

func notSimulated(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "the sandbox simulates its pods: there is no process behind "+r.URL.Path, http.StatusNotImplemented)
}

// logs writes a container's log so far and, when asked to follow, goes on
// until the container ends or the reader leaves.
func (k *kubelets) logs(w http.ResponseWriter, r *http.Request) {
	options, err := parseLogOptions(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := &logWriter{out: w, options: options}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var pod *corev1.Pod
	for first := true; ; first = false {
		now, container := time.Now(), r.PathValue("container")
		found, err := k.client.CoreV1().Pods(r.PathValue("namespace")).Get(r.Context(), r.PathValue("pod"), metav1.GetOptions{})
		if err != nil {
			if first {
				http.Error(w, err.Error(), statusOf(err))
			} else {
				_ = out.write(k.lastWords(pod, container)) // the reader may have left
			}
			return
		}
		pod = found
		lines, ended, err := k.said(pod, container, options.previous, now)
		if err != nil {
			if first {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
			return
		}
		if first {
			lines = options.window(lines, now)
		}
		if err := out.write(lines); err != nil || ended || !options.follow {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func statusOf(err error) int {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Code != 0 {
		return int(status.Status().Code)
	}
	return http.StatusInternalServerError
}
