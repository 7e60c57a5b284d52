package drift

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Later tells that manager itself applied something else after b was taken: it
// holds a field that b lacks, or has at another value. Nobody else brings that
// about, because the API server takes a field that others change away from its
// applier. That manager only dropped fields is not seen: others do that too.
func Later(b Baseline, live *unstructured.Unstructured, manager string, giveUp Paths) (bool, error) {
	before, err := b.set()
	if err != nil {
		return false, err
	}
	known := map[string]uint64{}
	for i, p := range leaves(before) {
		if i < len(b.Leaves) {
			known[p.String()] = b.Leaves[i]
		}
	}
	now, err := OwnedBy(live.GetManagedFields(), manager)
	if err != nil || now == nil {
		return false, err
	}
	for _, p := range leaves(now) {
		if hash, ok := known[p.String()]; !giveUp.Covers(p) && (!ok || hash != valueHash(live.Object, p)) {
			return true, nil
		}
	}
	return false, nil
}

// Rewrites tells that next gives a field that manager holds in live another
// value, or none.
func Rewrites(live, next *unstructured.Unstructured, manager string) (bool, error) {
	held, err := OwnedBy(live.GetManagedFields(), manager)
	if err != nil || held == nil {
		return false, err
	}
	for _, p := range leaves(held) {
		if valueHash(live.Object, p) != valueHash(next.Object, p) {
			return true, nil
		}
	}
	return false, nil
}
