package lease

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/sandbox"
)

// room is one test's namespace in a real cluster, whose API can be taken away.
type room struct {
	t      *testing.T
	leases typed.LeaseInterface
	away   atomic.Bool
}

func newRoom(t *testing.T) *room {
	t.Helper()
	cfg, err := sandbox.Shared(t, "member").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	r := &room{t: t}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			if r.away.Load() {
				return nil, errors.New("the member is away")
			}
			return next.RoundTrip(q)
		})
	})
	member, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := member.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "lease-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.leases = member.CoordinationV1().Leases(ns.Name)
	return r
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// holder is an agent whose clock the test moves.
func (r *room) holder(instance string) (*Holder, *clock) {
	h := New(r.leases, instance)
	c := &clock{now: time.Now()}
	h.now = c.read
	return h, c
}

func (r *room) lease() *coordinationv1.Lease {
	r.t.Helper()
	l, err := r.leases.Get(r.t.Context(), Name, metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// asks is one look of an agent that waits.
func asks(t *testing.T, h *Holder, watched *observation) (why string) {
	t.Helper()
	why, err := h.try(t.Context(), watched)
	must(t, err)
	return why
}

func TestOfManyThatAskAtOnceOneHoldsTheLease(t *testing.T) {
	r := newRoom(t)
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		h, _ := r.holder(fmt.Sprintf("agent-%d", i))
		all.Go(func() {
			if why, err := h.try(t.Context(), &observation{}); why == "" && err == nil {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d hold it", won.Load())
	}
}

func TestALeaseIsTakenWhenItWasReleasedOrRanOutByTheWatchersOwnClock(t *testing.T) {
	r := newRoom(t)
	first, own := r.holder("first")
	second, clock := r.holder("second")
	must(t, first.Acquire(t.Context(), nil))
	clock.pass(24 * time.Hour) // clocks of two machines are never compared
	watched := &observation{}
	if why := asks(t, second, watched); !strings.Contains(why, "first") {
		t.Fatalf("the second was told %q", why)
	}
	clock.pass(duration - time.Second)
	own.pass(time.Second)
	must(t, first.Confirm(t.Context()))
	asks(t, second, watched)
	clock.pass(duration - time.Second)
	if why := asks(t, second, watched); why == "" {
		t.Fatal("a lease that is renewed was taken")
	}
	clock.pass(2 * time.Second)
	if why := asks(t, second, watched); why != "" {
		t.Fatalf("a lease that ran out was not taken: %s", why)
	}
	must(t, second.Release(t.Context()))
	third, _ := r.holder("third")
	if why := asks(t, third, &observation{}); why != "" {
		t.Fatalf("a lease that was released was not taken: %s", why)
	}
	if l := r.lease(); *l.Spec.LeaseTransitions != 2 || *l.Spec.LeaseDurationSeconds != 15 {
		t.Errorf("the lease says %d transitions, %d seconds", *l.Spec.LeaseTransitions, *l.Spec.LeaseDurationSeconds)
	}
}

func TestAHolderThatWasHaltedWhileAnotherTookOverWritesNothing(t *testing.T) {
	r := newRoom(t)
	old, clock := r.holder("old")
	must(t, old.Acquire(t.Context(), nil))
	successor, later := r.holder("successor")
	watched := &observation{}
	asks(t, successor, watched)
	later.pass(duration + time.Second)
	asks(t, successor, watched)

	sent := 0
	through := old.Gate(roundTripper(func(*http.Request) (*http.Response, error) { sent++; return nil, nil }))
	ask := func(method string) error {
		q, err := http.NewRequestWithContext(t.Context(), method, "http://member", nil)
		must(t, err)
		_, err = through.RoundTrip(q)
		return err
	}
	clock.pass(duration + time.Second) // it wakes
	for _, method := range []string{http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if err := ask(method); !errors.Is(err, ErrLost) {
			t.Errorf("%s gave %v", method, err)
		}
	}
	if must(t, ask(http.MethodGet)); sent != 1 {
		t.Errorf("%d requests went out; only the reading one should", sent)
	}
	if err := old.Keep(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("it goes on: %v", err)
	}
}

func TestAMemberThatIsAwayCostsNobodyTheLease(t *testing.T) {
	r := newRoom(t)
	h, clock := r.holder("only")
	must(t, h.Acquire(t.Context(), nil))
	before := r.lease()
	r.away.Store(true)
	clock.pass(time.Hour)
	if err := h.Check(t.Context()); err == nil || errors.Is(err, ErrLost) {
		t.Errorf("in doubt it is told %v", err)
	}
	r.away.Store(false)
	// All that waited go on by one question.
	var writes sync.WaitGroup
	for range 16 {
		writes.Go(func() {
			if err := h.Check(t.Context()); err != nil {
				t.Errorf("it may not go on: %v", err)
			}
		})
	}
	writes.Wait()
	if now := r.lease(); *now.Spec.LeaseTransitions != *before.Spec.LeaseTransitions {
		t.Error("it changed hands")
	}
}

func TestAPersonWhoAnnotatesTheLeaseEndsNoAgent(t *testing.T) {
	r := newRoom(t)
	h, _ := r.holder("only")
	must(t, h.Acquire(t.Context(), nil))
	l := r.lease()
	l.Annotations = map[string]string{"note": "looked at"}
	_, err := r.leases.Update(t.Context(), l, metav1.UpdateOptions{})
	must(t, err)
	must(t, h.Confirm(t.Context()))
	must(t, r.leases.Delete(t.Context(), Name, metav1.DeleteOptions{}))
	if err := h.Confirm(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("without its lease it is told %v", err)
	}
}

func TestADeadHolderOfThisMachineIsSucceededAtOnce(t *testing.T) {
	r := newRoom(t)
	cmd := exec.Command("sleep", "600")
	must(t, cmd.Start())
	pid := cmd.Process.Pid
	h, _ := r.holder("dead")
	parts := strings.Split(h.me, "/")
	h.me = strings.Join([]string{parts[0], parts[1], strconv.Itoa(pid), started(pid)}, "/")
	must(t, h.Acquire(t.Context(), nil))
	next, _ := r.holder("next")
	if why := asks(t, next, &observation{}); why == "" {
		t.Error("a living holder was succeeded")
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	must(t, next.Acquire(t.Context(), func(why string) { t.Errorf("it waits: %s", why) }))
}

func TestInAPodTheContainerBeforeIsDead(t *testing.T) {
	t.Setenv(PodUID, "a")
	own := identity("now")
	parts := strings.Split(own, "/")
	if !gone(strings.Join([]string{"before", parts[1], "1", "7"}, "/")) {
		t.Error("the container before is not known to be dead")
	}
	if gone(strings.Join([]string{"other", "pod.b", "1", "7"}, "/")) {
		t.Error("another pod's is taken for dead")
	}
	if gone(own) {
		t.Error("an agent of this very process is taken for dead")
	}
	for _, nonsense := range []string{"", "a/b", "a/b/c/d/e", "x/" + parts[1] + "//", "x/" + parts[1] + "/nine/"} {
		if gone(nonsense) {
			t.Errorf("%q is taken for dead", nonsense)
		}
	}
}
