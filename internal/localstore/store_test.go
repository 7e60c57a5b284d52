package localstore_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/wire"
)

// room is one test's namespace in a real cluster.
type room struct {
	t         *testing.T
	member    kubernetes.Interface
	namespace string
}

func newRoom(t *testing.T) *room {
	t.Helper()
	cfg, err := sandbox.Shared(t, "member").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	member, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "store-"}}
	if ns, err = member.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return &room{t: t, member: member, namespace: ns.Name}
}

// open is a store as an agent that starts sees it.
func (r *room) open() *localstore.Store {
	r.t.Helper()
	s, err := localstore.Open(r.member, r.namespace)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *room) load(s *localstore.Store) localstore.Snapshot {
	r.t.Helper()
	snapshot, err := s.Load(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return snapshot
}

func (r *room) save(s *localstore.Store, snapshot localstore.Snapshot) {
	r.t.Helper()
	if err := s.Save(r.t.Context(), snapshot); err != nil {
		r.t.Fatal(err)
	}
}

// secrets are the store's, by name.
func (r *room) secrets() map[string]corev1.Secret {
	r.t.Helper()
	list, err := r.member.CoreV1().Secrets(r.namespace).List(r.t.Context(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	found := map[string]corev1.Secret{}
	for _, s := range list.Items {
		found[s.Name] = s
	}
	return found
}

func (r *room) chunks() []string {
	var names []string
	for name := range r.secrets() {
		if name != "atoll-store" {
			names = append(names, name)
		}
	}
	return names
}

func (r *room) delete(name string) {
	r.t.Helper()
	if err := r.member.CoreV1().Secrets(r.namespace).Delete(r.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// damage puts other bytes under a chunk's name.
func (r *room) damage(name string) {
	r.t.Helper()
	old := r.secrets()[name]
	r.delete(name)
	_, err := r.member.CoreV1().Secrets(r.namespace).Create(r.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: old.Labels}, Type: old.Type, Immutable: old.Immutable,
		Data: map[string][]byte{"data": []byte("not what it was")},
	}, metav1.CreateOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
}

// added runs change and returns the chunks it made.
func (r *room) added(change func()) []string {
	before := r.secrets()
	change()
	var names []string
	for name := range r.secrets() {
		if _, ok := before[name]; !ok && name != "atoll-store" {
			names = append(names, name)
		}
	}
	return names
}

func key(app string) desired.Key { return desired.Key{Project: "demo", Application: app} }

func rootOf(t *testing.T, generation int64, contents ...[]byte) desired.Root {
	t.Helper()
	var entries []desired.Entry
	for i, c := range contents {
		entries = append(entries, desired.Entry{
			Key: key(string(rune('a' + i))), UID: "u", Generation: generation, Content: desired.Sum(c), Namespace: "demo",
		})
	}
	root, err := desired.NewRoot(entries)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func snapshotOf(t *testing.T, generation int64, contents ...[]byte) localstore.Snapshot {
	s := localstore.Snapshot{
		Seen:     wire.Stamp{Incarnation: "one", Term: uint64(generation)},
		Root:     rootOf(t, generation, contents...),
		Contents: map[desired.Digest][]byte{},
		Values:   map[string][]byte{"hmac-sha256:1": []byte("sealed one"), "hmac-sha256:2": []byte("sealed two"), "hmac-sha256:3": {0, 1}},
	}
	for _, c := range contents {
		s.Contents[desired.Sum(c)] = c
	}
	return s
}

// noise does not compress.
func noise(size int) []byte {
	data := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = source.Read(data) // never fails
	return data
}

func same(t *testing.T, got, want localstore.Snapshot) {
	t.Helper()
	if got.Root.Digest() != want.Root.Digest() || got.Seen != want.Seen {
		t.Errorf("root %s of %v, want %s of %v", got.Root.Digest().Short(), got.Seen, want.Root.Digest().Short(), want.Seen)
	}
	if diff := cmp.Diff(want.Contents, got.Contents); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Values, got.Values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestAnEmptyStoreGivesAnEmptySnapshot(t *testing.T) {
	r := newRoom(t)
	got := r.load(r.open())
	if len(got.Root.Entries) != 0 || got.Seen != (wire.Stamp{}) || len(got.Damaged) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestWhatWasSavedIsLoadedByTheNextAgent(t *testing.T) {
	r := newRoom(t)
	want := snapshotOf(t, 3, []byte("small"), noise(1500<<10))
	r.save(r.open(), want)
	same(t, r.load(r.open()), want)

	for name, s := range r.secrets() {
		size := 0
		for _, v := range s.Data {
			size += len(v)
		}
		if size > 512<<10 {
			t.Errorf("secret %s holds %d bytes", name, size)
		}
		if name != "atoll-store" && (s.Immutable == nil || !*s.Immutable) {
			t.Errorf("chunk %s can be altered", name)
		}
	}
	if n := len(r.chunks()); n < 5 { // three for the noise, one for small, one for the state
		t.Errorf("%d chunks for 1.5 MiB", n)
	}
}

func TestSavingTheSameAgainWritesNothing(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	want := snapshotOf(t, 1, []byte("a"), []byte("b"))
	r.save(s, want)
	before := r.secrets()
	for range 20 {
		r.save(s, snapshotOf(t, 1, []byte("a"), []byte("b")))
	}
	r.save(r.open(), want) // nor does an agent that restarted
	if diff := cmp.Diff(before, r.secrets()); diff != "" {
		t.Errorf("the member was written to:\n%s", diff)
	}
}

func TestChunksThatNothingNeedsAreRemoved(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	for i := range int64(12) {
		r.save(s, snapshotOf(t, i+1, noise(int(i)+1000)))
	}
	if n := len(r.chunks()); n > 4 { // state and content, now and before
		t.Errorf("%d chunks are left after twelve changes", n)
	}
}

func TestADamagedOrMissingChunkOfTheStateStepsBackToTheRootBefore(t *testing.T) {
	for name, harm := range map[string]func(*room, string){"damaged": (*room).damage, "missing": (*room).delete} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			s := r.open()
			content := []byte("the content of both")
			first, second := snapshotOf(t, 1, content), snapshotOf(t, 2, content)
			r.save(s, first)
			chunks := r.added(func() { r.save(s, second) })
			if len(chunks) != 1 {
				t.Fatalf("the second save made %v, want the state alone", chunks)
			}
			harm(r, chunks[0])

			restarted := r.open()
			got := r.load(restarted)
			same(t, got, first)
			if len(got.Damaged) != 1 || !strings.Contains(got.Damaged[0], chunks[0]) {
				t.Errorf("damage is told as %q", got.Damaged)
			}
			r.save(restarted, second)
			again := r.load(r.open())
			same(t, again, second)
			if len(again.Damaged) != 0 {
				t.Errorf("still damaged after a save: %q", again.Damaged)
			}
		})
	}
}

func TestALostContentCostsThatContentOnly(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	kept, lost := []byte("kept"), []byte("lost")
	r.save(s, snapshotOf(t, 1, kept))
	want := snapshotOf(t, 1, kept, lost)
	chunks := r.added(func() { r.save(s, want) })
	for _, c := range chunks {
		if bytes.Contains(r.secrets()[c].Data["data"], lost) { // short enough to lie there uncompressed
			r.delete(c)
		}
	}
	got := r.load(r.open())
	delete(want.Contents, desired.Sum(lost))
	same(t, got, want)
	if len(got.Damaged) != 1 {
		t.Errorf("damage is told as %q", got.Damaged)
	}
}

func TestAnAgentKilledBetweenChunksAndRootLosesTheChangeAndNothingElse(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	first := snapshotOf(t, 1, []byte("first"))
	r.save(s, first)
	// The chunks of a second save, without its root: what a kill leaves.
	root := r.secrets()["atoll-store"]
	strays := r.added(func() { r.save(s, snapshotOf(t, 2, noise(700<<10))) })
	r.put(root)

	restarted := r.open()
	same(t, r.load(restarted), first)
	if whole, err := restarted.SweepStrays(t.Context(), time.Now().Add(-time.Hour)); err != nil || !whole {
		t.Fatalf("sweep: whole %v, %v", whole, err)
	}
	for _, name := range strays {
		if _, ok := r.secrets()[name]; !ok {
			t.Errorf("young chunk %s was swept: another copy of the agent may be committing it", name)
		}
	}
	if _, err := restarted.SweepStrays(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, name := range strays {
		if _, ok := r.secrets()[name]; ok {
			t.Errorf("stray chunk %s is still there", name)
		}
	}
	same(t, r.load(r.open()), first)
}

// put sets the root Secret back.
func (r *room) put(root corev1.Secret) {
	r.t.Helper()
	root.ResourceVersion = ""
	if _, err := r.member.CoreV1().Secrets(r.namespace).Update(r.t.Context(), &root, metav1.UpdateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func TestChunksSomebodyRemovedAreWrittenAgain(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	want := snapshotOf(t, 1, []byte("a"))
	r.save(s, want)
	saveInventories(t, s, map[desired.Key][]byte{key("a"): []byte("inventory of a")})
	for _, name := range r.chunks() {
		r.delete(name)
	}
	whole, err := s.SweepStrays(t.Context(), time.Now().Add(-time.Hour))
	if err != nil || whole {
		t.Fatalf("sweep: whole %v, %v", whole, err)
	}
	r.save(s, want)
	restarted := r.open()
	same(t, r.load(restarted), want)
	if got := inventories(t, restarted); string(got[key("a")]) != "inventory of a" {
		t.Errorf("inventories %q", got)
	}
}

func TestAFullMemberKeepsWhatWasStoredAndSaysSo(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	first := snapshotOf(t, 1, []byte("first"))
	r.save(s, first)
	r.quota(len(r.secrets()))

	second := snapshotOf(t, 2, noise(1200<<10))
	err := s.Save(t.Context(), second)
	if err == nil || !strings.Contains(err.Error(), "quota") {
		t.Fatalf("saved to a full member: %v", err)
	}
	same(t, r.load(r.open()), first)

	if err := r.member.CoreV1().ResourceQuotas(r.namespace).Delete(t.Context(), "full", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually(func() error { return s.Save(t.Context(), second) })
	same(t, r.load(r.open()), second)
}

// quota lets no more than n Secrets be.
func (r *room) quota(n int) {
	r.t.Helper()
	quotas := r.member.CoreV1().ResourceQuotas(r.namespace)
	_, err := quotas.Create(r.t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"secrets": *resource.NewQuantity(int64(n), resource.DecimalSI)}},
	}, metav1.CreateOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.eventually(func() error {
		q, err := quotas.Get(r.t.Context(), "full", metav1.GetOptions{})
		if used := q.Status.Used["secrets"]; err == nil && used.IsZero() {
			err = apierrors.NewServiceUnavailable("the quota is not counted yet")
		}
		return err
	})
}

func (r *room) eventually(ask func() error) {
	r.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(r.t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		last = ask()
		return last == nil, nil
	})
	if err != nil {
		r.t.Fatalf("%v: %v", err, last)
	}
}
