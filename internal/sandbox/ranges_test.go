package sandbox

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Two fleets with one index would listen on the same loopback addresses.
func TestClustersOfAllFleetsHaveDistinctRanges(t *testing.T) {
	r := ranges{filepath.Join(t.TempDir(), "ranges")}
	fleets := []string{t.TempDir(), t.TempDir()}
	claim := func(dir string) (got int, err error) {
		err = r.claim(dir, func(index int) error {
			got = index
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			return writeState(filepath.Join(dir, "state.json"), State{Index: index})
		})
		return got, err
	}
	var mu sync.Mutex
	owners := map[int]string{}
	var group errgroup.Group
	for n := range 12 {
		dir := filepath.Join(fleets[n%2], "c"+strconv.Itoa(n))
		group.Go(func() error {
			index, err := claim(dir)
			mu.Lock()
			defer mu.Unlock()
			if other := owners[index]; other != "" {
				t.Errorf("%s and %s both have index %d", other, dir, index)
			}
			owners[index] = dir
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	// What is gone with its directory, without a word, is free again.
	if err := os.RemoveAll(owners[3]); err != nil {
		t.Fatal(err)
	}
	if index, err := claim(filepath.Join(fleets[0], "late")); err != nil || index != 3 {
		t.Errorf("after the removal of index 3, a new cluster got %d: %v", index, err)
	}
	if index, err := claim(filepath.Join(fleets[0], "later")); err != nil || index != 12 {
		t.Errorf("with 0 to 11 in use, a new cluster got %d: %v", index, err)
	}
}

func TestLoopbackRangesOfAClusterAreApart(t *testing.T) {
	for index := range maxClusters {
		s := State{Index: index}
		all, balancers := netip.MustParsePrefix(s.LoopbackCIDR()), netip.MustParsePrefix(s.LoadBalancerCIDR())
		pods := netip.MustParsePrefix("127" + s.PodCIDR()[len("10"):])
		if !all.Overlaps(balancers) || !all.Overlaps(pods) || balancers.Overlaps(pods) {
			t.Fatalf("cluster %d: balancers %s and pods %s within %s", index, balancers, pods, all)
		}
		for _, n := range []int{0, MaxNodes - 1} {
			if ip := netip.MustParseAddr(s.NodeIP(n)); balancers.Contains(ip) || pods.Contains(ip) || !all.Contains(ip) {
				t.Fatalf("cluster %d: node %s", index, ip)
			}
		}
	}
}
