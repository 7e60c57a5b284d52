package standin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
)

type nameKey struct{ namespace, name string }

func (k nameKey) compare(o nameKey) int {
	return cmp.Or(cmp.Compare(k.namespace, o.namespace), cmp.Compare(k.name, o.name))
}

// record is one stored object. It is never altered: a change is a new one.
type record struct {
	nameKey
	uid     types.UID
	version uint64
	labels  map[string]string
	owners  []types.UID
	body    []byte // JSON
}

// object decodes a copy.
func (r *record) object() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(r.body, &u.Object); err != nil {
		panic(fmt.Sprintf("an object that was encoded here cannot be read: %v", err))
	}
	return u
}

// as is the same object under another version.
func (r *record) as(version uint64) *record {
	u, other := r.object(), *r
	u.SetResourceVersion(strconv.FormatUint(version, 10))
	other.version, other.body = version, encode(u)
	return &other
}

// change is one event of a resource's history.
type change struct {
	kind   watch.EventType
	record *record
	// before is what it was until then, nil if there was nothing.
	before *record
}

// kept is how many changes a resource remembers for those who watch; who is
// further behind has to list again.
const kept = 128

// resource holds all objects of one.
type resource struct {
	records map[nameKey]*record
	sorted  []nameKey // nil when to be sorted again
	history []change
	dropped uint64 // the version of the youngest change that is forgotten
	wake    chan struct{}
}

func (r *resource) keys() []nameKey {
	if r.sorted == nil {
		r.sorted = slices.SortedFunc(maps.Keys(r.records), nameKey.compare)
	}
	return r.sorted
}

// of is the resource, made if need be; m.mu is held.
func (m *Member) of(gvr schema.GroupVersionResource) *resource {
	r := m.resources[gvr]
	if r == nil {
		r = &resource{records: map[nameKey]*record{}, wake: make(chan struct{})}
		m.resources[gvr] = r
	}
	return r
}

func (m *Member) find(gvr schema.GroupVersionResource, namespace, name string) *record {
	if r := m.resources[gvr]; r != nil {
		return r.records[nameKey{namespace, name}]
	}
	return nil
}

// put stores an object that is new.
func (m *Member) put(gvr schema.GroupVersionResource, u *unstructured.Unstructured) *record {
	return m.store(gvr, nil, u)
}

// store makes next the object that old was, unless nothing differs.
func (m *Member) store(gvr schema.GroupVersionResource, old *record, next *unstructured.Unstructured) *record {
	next = m.stamped(old, next)
	if old != nil {
		if body := encode(next); bytes.Equal(body, old.body) {
			return old
		}
	}
	m.version++
	next.SetResourceVersion(strconv.FormatUint(m.version, 10))
	made := &record{
		nameKey: nameKey{next.GetNamespace(), next.GetName()}, uid: next.GetUID(), version: m.version,
		labels: next.GetLabels(), body: encode(next),
	}
	for _, owner := range next.GetOwnerReferences() {
		made.owners = append(made.owners, owner.UID)
	}
	if old != nil && next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 {
		m.gone(gvr, made)
		return made
	}
	r, event := m.of(gvr), change{kind: watch.Added, record: made}
	if old != nil {
		event.kind, event.before = watch.Modified, old
	} else {
		r.sorted = nil
	}
	r.records[made.nameKey] = made
	m.tell(r, event)
	if m.Wrote != nil {
		m.Wrote(gvr, next)
	}
	m.react(gvr, made, next)
	return made
}

// stamped gives next what an API server sets by itself.
func (m *Member) stamped(old *record, next *unstructured.Unstructured) *unstructured.Unstructured {
	_, hasSpec := next.Object["spec"]
	if old == nil {
		if next.GetUID() == "" {
			next.SetUID(types.UID(uuid.NewString()))
		}
		next.SetCreationTimestamp(metav1.NewTime(m.Now()))
		if hasSpec {
			next.SetGeneration(1)
		}
		return next
	}
	before := old.object()
	next.SetUID(old.uid)
	next.SetCreationTimestamp(before.GetCreationTimestamp())
	next.SetResourceVersion(before.GetResourceVersion())
	generation := before.GetGeneration()
	if hasSpec && !sameContent(before, next) {
		generation++
	}
	if generation > 0 {
		next.SetGeneration(generation)
	}
	keepTimes(before, next)
	return next
}

// sameContent compares all but metadata and status.
func sameContent(a, b *unstructured.Unstructured) bool {
	for _, fields := range []map[string]any{a.Object, b.Object} {
		for k := range fields {
			if k != "metadata" && k != "status" && !reflect.DeepEqual(a.Object[k], b.Object[k]) {
				return false
			}
		}
	}
	return true
}

// keepTimes lets a manager's entry keep its time while its fields stay: else
// an apply that changes nothing would be a change.
func keepTimes(before, next *unstructured.Unstructured) {
	old := before.GetManagedFields()
	entries := next.GetManagedFields()
	for i := range entries {
		for j := range old {
			same := old[j]
			if entries[i].Time != nil {
				same.Time = entries[i].Time
			}
			if reflect.DeepEqual(same, entries[i]) {
				entries[i].Time = old[j].Time
			}
		}
	}
	if len(entries) > 0 {
		next.SetManagedFields(entries)
	}
}

// remove deletes an object, or marks it while finalizers hold it.
func (m *Member) remove(gvr schema.GroupVersionResource, old *record) {
	u := old.object()
	if len(u.GetFinalizers()) > 0 {
		if u.GetDeletionTimestamp() == nil {
			now := metav1.NewTime(m.Now())
			u.SetDeletionTimestamp(&now)
			m.store(gvr, old, u)
		}
		return
	}
	if gvr == definitions {
		m.undefine(u)
	}
	if gvr == namespacesResource {
		for other, r := range m.resources {
			for _, key := range slices.Clone(r.keys()) {
				if key.namespace == old.name && r.records[key] != nil {
					m.gone(other, r.records[key])
				}
			}
		}
	}
	m.gone(gvr, old)
}

// gone drops an object and what it owned.
func (m *Member) gone(gvr schema.GroupVersionResource, old *record) {
	r := m.of(gvr)
	delete(r.records, old.nameKey)
	delete(m.sick, old.uid)
	r.sorted = nil
	m.version++
	m.tell(r, change{kind: watch.Deleted, record: old.as(m.version), before: old})
	if m.Deleted != nil {
		m.Deleted(gvr, old.object())
	}
	for other, r := range m.resources {
		for _, key := range slices.Clone(r.keys()) {
			if owned := r.records[key]; owned != nil && slices.Contains(owned.owners, old.uid) {
				m.remove(other, owned)
			}
		}
	}
}

// tell enters a change into the history and wakes who watches.
func (m *Member) tell(r *resource, c change) {
	r.history = append(r.history, c)
	if over := len(r.history) - kept; over > 0 {
		r.dropped = r.history[over-1].record.version
		r.history = slices.Delete(r.history, 0, over)
	}
	close(r.wake)
	r.wake = make(chan struct{})
}

func (m *Member) wakeAll() {
	for _, r := range m.resources {
		close(r.wake)
		r.wake = make(chan struct{})
	}
}

func encode(u *unstructured.Unstructured) []byte {
	body, err := json.Marshal(u.Object)
	if err != nil {
		panic(fmt.Sprintf("an object of JSON's types cannot be encoded: %v", err))
	}
	return body
}
