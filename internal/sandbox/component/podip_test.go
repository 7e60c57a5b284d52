package component

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A small range, so that it is gone round, exhausted and restarted often.
func TestAddressesAreNeverSharedByLivingPods(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const capacity = 16 - 3 // network, gateway, broadcast
		prefix := netip.MustParsePrefix("10.16.0.0/28")
		living := map[netip.Addr]bool{}
		list := func() (map[netip.Addr]bool, error) { return maps.Clone(living), nil }
		start := func() *podAddresses {
			a, err := newAddresses(prefix.String(), list)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		addresses := start()
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				ip, err := addresses.take()
				switch {
				case err != nil && len(living) < capacity:
					t.Fatalf("%d of %d addresses are in use, and: %v", len(living), capacity, err)
				case err == nil && (living[ip] || !prefix.Contains(ip)):
					t.Fatalf("%s is in use or outside %s", ip, prefix)
				case err == nil:
					living[ip] = true
				}
			},
			"delete": func(t *rapid.T) {
				if len(living) > 0 {
					ips := slices.SortedFunc(maps.Keys(living), netip.Addr.Compare)
					delete(living, rapid.SampledFrom(ips).Draw(t, "address"))
				}
			},
			"restart": func(*rapid.T) { addresses = start() },
		})
	})
}
