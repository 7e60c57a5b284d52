package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

// A range that no sandbox of this machine has: theirs end at 127.127.
var within = netip.MustParsePrefix("127.200.0.0/16")

// freePort is free on every loopback address, as far as one can tell.
func freePort(t *testing.T) int32 {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.200.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return portOf(listener)
}

func readyPod(name, ip, image string, port int32) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, UID: types.UID(name)},
		Spec: corev1.PodSpec{NodeName: "a-1", Containers: []corev1.Container{
			{Name: "web", Image: image, Ports: []corev1.ContainerPort{{ContainerPort: port}}},
		}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

// get asks over a connection of its own.
func get(ctx context.Context, at netip.AddrPort, path string) (Answer, int, error) {
	var answer Answer
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+path, nil)
	if err != nil {
		return answer, 0, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer, 0, err
	}
	defer response.Body.Close()
	return answer, response.StatusCode, json.NewDecoder(response.Body).Decode(&answer)
}

func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	last := errors.New("never asked")
	if err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	}); err != nil {
		t.Fatalf("%s: %v; last: %v", what, err, last)
	}
}

func refused(ctx context.Context, at netip.AddrPort) error {
	if _, _, err := get(ctx, at, "/"); !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("answered with %v", err)
	}
	return nil
}

func TestAPodAnswersWhileItIsReadyAndLogsWhatItAnswered(t *testing.T) {
	pods, port := NewPods("eu", within), freePort(t)
	pod := readyPod("web-1", "10.200.128.2", "web:flaky", port)
	name, at := types.NamespacedName{Namespace: "demo", Name: "web-1"}, netip.AddrPortFrom(netip.MustParseAddr("127.200.128.2"), uint16(port))
	pods.Set(pod)
	var statuses []int
	for range 6 {
		answer, status, err := get(t.Context(), at, "/cart?id=1")
		if err != nil {
			t.Fatal(err)
		}
		if answer.Cluster != "eu" || answer.Pod != "web-1" || answer.Container != "web" || answer.Port != port || answer.Path != "/cart" {
			t.Fatalf("it answers %+v", answer)
		}
		statuses = append(statuses, status)
	}
	if got := fmt.Sprint(statuses); got != "[200 200 503 200 200 503]" {
		t.Errorf("a flaky image answers %s", got)
	}
	lines := pods.Log(pod.UID, name, "web", time.Now())
	if len(lines) != 6 || !strings.HasPrefix(lines[2].Text, `127.0.0.1 "GET /cart?id=1" 503 `) {
		t.Errorf("the log is %v", lines)
	}

	unready := pod.DeepCopy()
	unready.Status.Conditions[0].Status = corev1.ConditionFalse
	pods.Set(unready)
	pods.Set(pod) // ready again at once, before the port was closed
	if _, _, err := get(t.Context(), at, "/healthz"); err != nil {
		t.Errorf("after a moment of unreadiness: %v", err)
	}
	pods.Set(unready)
	eventually(t, "an unready pod refuses", func(ctx context.Context) error { return refused(ctx, at) })
	if lines := pods.Log(pod.UID, name, "web", time.Now()); len(lines) < 7 {
		t.Errorf("an unready pod's log has %d lines, want 7 at least", len(lines))
	}
	pods.Set(pod)
	if _, _, err := get(t.Context(), at, "/"); err != nil {
		t.Errorf("ready again: %v", err)
	}
	pods.Remove(name)
	eventually(t, "a deleted pod refuses", func(ctx context.Context) error { return refused(ctx, at) })
	if lines := pods.Log(pod.UID, name, "web", time.Now()); lines != nil {
		t.Errorf("a deleted pod's log is kept: %v", lines)
	}
}

// A pod may claim any address in its status, such as this machine's own.
func TestNothingListensOutsideTheClustersRange(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "10.201.0.2", "127.201.0.2", "192.168.1.1", "0.0.0.0", "::1", "", "x"} {
		if at, ok := loopbackOf(ip, within); ok {
			t.Errorf("a pod with address %q is listened for at %s", ip, at)
		}
	}
}

func TestARequestInFlightEndsWithinTheGracePeriod(t *testing.T) {
	pods, port := NewPods("eu", within), freePort(t)
	pod := readyPod("slow", "10.200.128.3", "web:slow", port)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.200.128.3"), uint16(port))
	pods.Set(pod)
	conn, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	name := types.NamespacedName{Namespace: "demo", Name: "slow"}
	eventually(t, "the request has arrived", func(context.Context) error {
		pods.mu.Lock()
		defer pods.mu.Unlock()
		if pods.pods[name].containers["web"].requests.Load() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	pods.Remove(name)
	eventually(t, "new connections are refused", func(ctx context.Context) error { return refused(ctx, at) })
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), `"pod":"slow"`) {
		t.Errorf("the request in flight got %q: %v", answer, err)
	}
}

func TestAPortThatNeedsRootIsServedElsewhere(t *testing.T) {
	var tried []string
	asUser := func(_, address string) (net.Listener, error) {
		tried = append(tried, address)
		if strings.HasSuffix(address, ":80") {
			return nil, &fs.PathError{Op: "listen", Err: syscall.EACCES}
		}
		return nil, errors.New("enough")
	}
	_, _ = listenWith(asUser, netip.MustParseAddr("127.200.0.1"), 80)
	if got := fmt.Sprint(tried); got != "[127.200.0.1:80 127.200.0.1:8080]" {
		t.Errorf("it tried %s", got)
	}
}

func TestTheLogOfAContainerIsBoundedAndInOrder(t *testing.T) {
	var j journal
	for n := range maxLines + 7 {
		j.add(fmt.Sprint(n))
	}
	lines := j.until(time.Now().Add(time.Second))
	if len(lines) != maxLines || lines[0].Text != "7" {
		t.Fatalf("%d lines, from %q", len(lines), lines[0].Text)
	}
	for i := 1; i < len(lines); i++ {
		if !lines[i].At.After(lines[i-1].At) {
			t.Fatalf("line %d is not after the one before", i)
		}
	}
}
