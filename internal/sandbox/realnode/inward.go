package realnode

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// APIServerClient is the API server's pair as a client of kubelets, in the
// cluster's pki. Nobody else is let into the node's network.
const APIServerClient = "apiserver-kubelet-client"

// apiServerUser is whom that pair names.
const apiServerUser = "kube-apiserver-kubelet-client"

// inwardProxy is the HTTP CONNECT proxy by which the API server reaches the
// kubelet, pods and Services.
type inwardProxy struct{ netns *os.File }

// serve listens on the machine, so on another thread than the caller's.
func (p inwardProxy) serve(address string) error {
	config, err := inwardTLS()
	if err != nil {
		return err
	}
	listening := make(chan error)
	go func() {
		l, err := net.Listen("tcp", address)
		listening <- err
		if err != nil {
			return
		}
		// Version 1.1 alone: a stream of version 2 cannot be taken over.
		server := &http.Server{Handler: p, TLSConfig: config, ReadHeaderTimeout: dialTimeout, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
		fmt.Fprintln(os.Stderr, server.ServeTLS(l, "", ""))
	}()
	return <-listening
}

func inwardTLS() (*tls.Config, error) {
	pki := filepath.Join(inside, "pki")
	pair, err := tls.LoadX509KeyPair(filepath.Join(pki, "apiserver.crt"), filepath.Join(pki, "apiserver.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS13,
		VerifyConnection: func(s tls.ConnectionState) error {
			if user := s.PeerCertificates[0].Subject.CommonName; user != apiServerUser {
				return fmt.Errorf("%s is not the API server", user)
			}
			return nil
		},
	}, nil
}

func (p inwardProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	far, err := p.dial(r.Context(), r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		far.Close()
		conn.Close()
		return
	}
	join(conn, far)
}

// dial connects in the node's network.
func (p inwardProxy) dial(ctx context.Context, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so nothing else
		// runs in the wrong network.
		runtime.LockOSThread()
		if err := unix.Setns(int(p.netns.Fd()), unix.CLONE_NEWNET); err != nil {
			dialled <- result{nil, err}
			return
		}
		conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp4", address)
		dialled <- result{conn, err}
	}()
	r := <-dialled
	return r.conn, r.err
}
