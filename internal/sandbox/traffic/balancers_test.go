package traffic

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

var shop = types.NamespacedName{Namespace: "demo", Name: "shop"}

// threePods serves three pods and names their endpoints.
func threePods(t *testing.T, pods *Pods, port int32) (ready []*corev1.Pod, endpoints []Endpoint) {
	t.Helper()
	for n := range 3 {
		pod := readyPod(fmt.Sprint("web-", n), fmt.Sprintf("10.200.129.%d", n+2), "web:1", port)
		pods.Set(pod)
		ready, endpoints = append(ready, pod), append(endpoints, Endpoint{pod.Status.PodIP, port})
	}
	t.Cleanup(func() {
		for _, pod := range ready {
			pods.Remove(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
		}
	})
	return ready, endpoints
}

func TestConnectionsAreSpreadAndADeadEndpointIsPassedOver(t *testing.T) {
	pods := NewPods("eu", within)
	balancers, port := NewBalancers(pods), freePort(t)
	ready, endpoints := threePods(t, pods, port)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.200.64.1"), uint16(port))
	set := func(endpoints []Endpoint, sticky bool) {
		t.Helper()
		if err := balancers.Set(shop, []Frontend{{At: at, Endpoints: endpoints, Sticky: sticky}}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(times int) map[string]int {
		t.Helper()
		answered := map[string]int{}
		for range times {
			answer, _, err := get(t.Context(), at, "/")
			if err != nil {
				t.Fatal(err)
			}
			answered[answer.Pod]++
		}
		return answered
	}
	set(endpoints, false)
	if got := fmt.Sprint(ask(9)); got != "map[web-0:3 web-1:3 web-2:3]" {
		t.Errorf("nine connections went to %s", got)
	}
	pods.Remove(types.NamespacedName{Namespace: "demo", Name: ready[1].Name}) // the endpoints are not told yet
	if got := ask(9); got["web-1"] != 0 || got["web-0"] == 0 || got["web-2"] == 0 {
		t.Errorf("without web-1, nine connections went to %v", got)
	}
	set(endpoints, true)
	if got := ask(9); len(got) != 1 {
		t.Errorf("one client's sticky connections went to %v", got)
	}
	set(nil, false)
	eventually(t, "refused without endpoints", func(ctx context.Context) error { return refused(ctx, at) })
	set(endpoints, false)
	ask(1)
	if err := balancers.Set(shop, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refused without a service", func(ctx context.Context) error { return refused(ctx, at) })
}

// An address passes to another Service without a moment in which it is
// nobody's by mistake.
func TestTwoServicesNeverAnswerForEachOther(t *testing.T) {
	pods := NewPods("eu", within)
	balancers, port := NewBalancers(pods), freePort(t)
	_, endpoints := threePods(t, pods, port)
	other := types.NamespacedName{Namespace: "demo", Name: "other"}
	for n, service := range []types.NamespacedName{shop, other} {
		at := netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("127.200.64.%d", n+3)), uint16(port))
		if err := balancers.Set(service, []Frontend{{At: at, Endpoints: endpoints[n : n+1]}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = balancers.Set(service, nil) })
	}
	for n := range 2 {
		at := netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("127.200.64.%d", n+3)), uint16(port))
		if answer, _, err := get(t.Context(), at, "/"); err != nil || answer.Pod != fmt.Sprint("web-", n) {
			t.Errorf("service %d is answered by %q: %v", n, answer.Pod, err)
		}
	}
}

func TestAnEndThatSaysNoMoreStillListens(t *testing.T) {
	echo, err := net.Listen("tcp4", "127.200.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		conn, err := echo.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		said, _ := io.ReadAll(conn) // until the client has said its last
		conn.Write(said)
	}()
	front, err := net.Listen("tcp4", "127.200.1.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	go func() {
		client, err := front.Accept()
		if err != nil {
			return
		}
		backend, err := net.Dial("tcp4", echo.Addr().String())
		if err != nil {
			return
		}
		splice(client.(*net.TCPConn), backend.(*net.TCPConn))
	}()
	conn, err := net.Dial("tcp4", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "hello")
	conn.(*net.TCPConn).CloseWrite()
	if heard, err := io.ReadAll(conn); err != nil || string(heard) != "hello" {
		t.Errorf("heard %q: %v", heard, err)
	}
}

func TestWhenAnEndpointGoesOnlyItsOwnClientsMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var endpoints []Endpoint
		for n := range rapid.IntRange(2, 9).Draw(t, "endpoints") {
			endpoints = append(endpoints, Endpoint{fmt.Sprintf("10.0.0.%d", n), 80})
		}
		client := rapid.StringMatching(`127\.[0-9]{1,2}\.0\.[0-9]`).Draw(t, "client")
		before := stickyOrder(endpoints, client)
		gone := rapid.SampledFrom(endpoints).Draw(t, "gone")
		left := slices.DeleteFunc(slices.Clone(endpoints), func(e Endpoint) bool { return e == gone })
		after := stickyOrder(left, client)
		if before[0] != gone && before[0] != after[0] {
			t.Fatalf("%s went, and %s moved from %s to %s", gone.IP, client, before[0].IP, after[0].IP)
		}
	})
}

// What one more idle pod costs, with one port.
func BenchmarkThousandPods(b *testing.B) {
	listener, err := net.Listen("tcp4", "127.200.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := portOf(listener)
	listener.Close()
	b.ReportAllocs()
	for b.Loop() {
		pods := NewPods("eu", within)
		before := measure()
		for n := range 1000 {
			pods.Set(readyPod(fmt.Sprint("p-", n), fmt.Sprintf("10.200.%d.%d", 130+n/200, n%200+1), "web:1", port))
		}
		if len(pods.doors) != 1000 {
			b.Fatalf("%d of 1,000 listen", len(pods.doors))
		}
		after := measure()
		b.ReportMetric(float64(after.bytes-before.bytes)/1000, "B/pod")
		b.ReportMetric(float64(after.goroutines-before.goroutines)/1000, "goroutines/pod")
		for _, d := range pods.doors {
			d.server.Close()
		}
	}
}
