package drift

import (
	"sort"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Addition is a key or list element that someone else put into a map or list
// that is to be exact.
type Addition struct {
	// Pointer is its JSON pointer in the live object.
	Pointer string
	Change  Change
}

// Additions finds what others added inside the exact paths. Only what another
// manager owns counts, so server-side defaults stay; keys of *.kubernetes.io/
// are never touched, nor what is, or holds, a field in leave, which is for others.
// They come in an order in which JSON patch can remove them.
func Additions(live *unstructured.Unstructured, manager string, exact, leave Paths) ([]Addition, error) {
	if len(exact) == 0 {
		return nil, nil
	}
	managed := live.GetManagedFields()
	ours, err := OwnedBy(managed, manager)
	if err != nil || ours == nil {
		return nil, err
	}
	found := map[string]Addition{}
	for _, m := range managed {
		if isApply(m, manager) || m.FieldsV1 == nil || m.Subresource != "" {
			continue
		}
		theirs, err := parseSet(m.FieldsV1)
		if err != nil {
			return nil, err
		}
		theirs.Iterate(func(p fieldpath.Path) {
			if a, ok := addition(live.Object, exact, ours, p.Copy()); ok && !leave.touch(a.Change.Path) {
				a.Change.Manager, a.Change.At = m.Manager, timeOf(m)
				found[a.Pointer] = a
			}
		})
	}
	return removable(found), nil
}

// addition looks for the first step of p that lies right below an exact path
// and that we own nothing of.
func addition(obj map[string]any, exact Paths, ours *fieldpath.Set, p fieldpath.Path) (Addition, bool) {
	for _, e := range exact {
		if len(p) <= len(e) || !e.covers(p) {
			continue
		}
		at := p[:len(e)+1]
		if ownsIn(ours, at) || protected(at) {
			continue
		}
		v, ok := Lookup(obj, at)
		pointer, reachable := pointerTo(obj, at)
		if ok && reachable {
			return Addition{Pointer: pointer, Change: Change{Path: at, New: v}}, true
		}
	}
	return Addition{}, false
}

// ownsIn tells whether set holds p, something below it, or the whole of what
// holds p.
func ownsIn(set *fieldpath.Set, p fieldpath.Path) bool {
	if set.Has(p) {
		return true
	}
	below := set
	for _, e := range p {
		below = below.WithPrefix(e)
	}
	return !below.Empty()
}

// protected are the keys that Kubernetes and its controllers keep for themselves.
func protected(p fieldpath.Path) bool {
	last := p[len(p)-1]
	if last.FieldName == nil {
		return false
	}
	domain, _, prefixed := strings.Cut(*last.FieldName, "/")
	return prefixed && (domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io"))
}

// pointerTo is the JSON pointer of p in obj.
func pointerTo(obj any, p fieldpath.Path) (string, bool) {
	var b strings.Builder
	for _, e := range p {
		b.WriteByte('/')
		if e.FieldName != nil {
			b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(*e.FieldName))
		} else {
			list, _ := obj.([]any)
			i := position(list, e)
			if i < 0 {
				return "", false
			}
			b.WriteString(strconv.Itoa(i))
		}
		obj, _ = step(obj, e)
	}
	return b.String(), true
}

// removable sorts so that a list's later elements go first: removing one moves
// those behind it.
func removable(found map[string]Addition) []Addition {
	out := make([]Addition, 0, len(found))
	for _, a := range found {
		out = append(out, a)
	}
	sort.Slice(out, func(i, j int) bool {
		pi, ni := splitIndex(out[i].Pointer)
		pj, nj := splitIndex(out[j].Pointer)
		if pi != pj || ni < 0 || nj < 0 {
			return out[i].Pointer < out[j].Pointer
		}
		return ni > nj
	})
	return out
}

func splitIndex(pointer string) (string, int) {
	cut := strings.LastIndexByte(pointer, '/')
	n, err := strconv.Atoi(pointer[cut+1:])
	if err != nil {
		return pointer, -1
	}
	return pointer[:cut], n
}

// RemovalPatch is the JSON patch (RFC 6902) that removes the additions from
// just the object that was read.
func RemovalPatch(live *unstructured.Unstructured, additions []Addition) []map[string]any {
	patch := []map[string]any{{"op": "test", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()}}
	for _, a := range additions {
		patch = append(patch, map[string]any{"op": "remove", "path": a.Pointer})
	}
	return patch
}

func timeOf(m metav1.ManagedFieldsEntry) (t time.Time) {
	if m.Time != nil {
		t = m.Time.Time
	}
	return t
}

// PathsOf are rule paths that select exactly the changes' fields.
func PathsOf(changes []Change) Paths {
	var paths Paths
	for _, c := range changes {
		paths = append(paths, pathOf(c.Path))
	}
	return paths
}

func pathOf(p fieldpath.Path) Path {
	var out Path
	for _, e := range p {
		switch {
		case e.FieldName != nil:
			out = append(out, segment{text: *e.FieldName})
		case e.Key != nil:
			s := segment{text: keyText(*e.Key), bracket: true}
			for _, f := range *e.Key {
				s.keys = append(s.keys, keyValue{f.Name, scalar(f.Value.Unstructured())})
			}
			out = append(out, s)
		case e.Value != nil:
			out = append(out, segment{text: scalar((*e.Value).Unstructured()), bracket: true})
		case e.Index != nil:
			out = append(out, segment{text: strconv.Itoa(*e.Index), bracket: true})
		}
	}
	return out
}
