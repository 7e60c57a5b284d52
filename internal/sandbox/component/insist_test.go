package component

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A write whose answer is lost with the API server, or refused by one that is
// about to go or has just come, is said again until there is an answer.
func TestAWriteOutlastsTheServerThatItWasSaidTo(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "{}" {
			t.Errorf("the server is told %q: %v", body, err)
		}
		switch asked.Add(1) {
		case 1: // before a word of the answer
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
			}
			conn.Close()
		case 2: // in the middle of it
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"kind": "Pod"`)
		case 3:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web"}}`)
		}
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(insistent(&rest.Config{Host: server.URL}))
	if err != nil {
		t.Fatal(err)
	}
	pod, err := client.CoreV1().Pods("default").Patch(t.Context(), "web", types.MergePatchType, []byte("{}"), metav1.PatchOptions{})
	if err != nil || pod.Name != "web" || asked.Load() != 4 {
		t.Errorf("asked %d times, the answer is %q: %v", asked.Load(), pod.Name, err)
	}
}

// What was never heard is said again, whatever it is: a watch is there as soon
// as its server, and not when its patience allows.
func TestARequestWaitsForItsServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	client, err := kubernetes.NewForConfig(insistent(&rest.Config{Host: address}))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() {
		_, err := client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{}, metav1.CreateOptions{})
		ended <- err
	}()
	go func() {
		_, err := client.CoreV1().Pods("default").Get(t.Context(), "web", metav1.GetOptions{})
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("nobody listens, and the answer is %v", err)
	case <-time.After(3 * askAgain):
	}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"kind": "Pod", "apiVersion": "v1"}`)
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	defer server.Close()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestACreationIsNotSaidTwice(t *testing.T) {
	if unheard(http.MethodPost, nil, io.ErrUnexpectedEOF, 0) {
		t.Error("one whose answer was lost would be")
	}
	if unheard(http.MethodPost, &http.Response{StatusCode: http.StatusInternalServerError}, nil, 0) {
		t.Error("one that failed would be")
	}
}
