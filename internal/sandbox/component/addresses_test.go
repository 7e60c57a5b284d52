package component

import (
	"fmt"
	"net/netip"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

// A small range, so that it is exhausted and restarted often.
func TestEachServiceHasAnAddressOfItsOwnAndKeepsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const cidr, capacity = "127.16.64.0/29", 8 - 1
		start := func() *balancerAddresses {
			a, err := newBalancerAddresses(cidr)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		recorded := map[types.NamespacedName]netip.Addr{}
		addresses := start()
		service := rapid.Custom(func(t *rapid.T) types.NamespacedName {
			return types.NamespacedName{Namespace: "demo", Name: fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "service"))}
		})
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				name := service.Draw(t, "service")
				ip, err := addresses.of(name)
				had, known := recorded[name]
				switch {
				case err != nil && (known || len(recorded) < capacity):
					t.Fatalf("%d of %d in use, and: %v", len(recorded), capacity, err)
				case err == nil && known && ip != had:
					t.Fatalf("%s had %s and has %s", name, had, ip)
				case err == nil:
					recorded[name] = ip
				}
			},
			"delete": func(t *rapid.T) {
				name := service.Draw(t, "service")
				addresses.free(name)
				delete(recorded, name)
			},
			"restart": func(*rapid.T) {
				addresses = start()
				for name, ip := range recorded {
					addresses.adopt(name, ip.String())
				}
			},
			"": func(t *rapid.T) {
				owner := map[netip.Addr]types.NamespacedName{}
				for name, ip := range recorded {
					if other, taken := owner[ip]; taken || !netip.MustParsePrefix(cidr).Contains(ip) {
						t.Fatalf("%s and %s have %s", name, other, ip)
					}
					owner[ip] = name
				}
			},
		})
	})
}

func TestAnAddressOfSomethingElseIsNotAdopted(t *testing.T) {
	a, err := newBalancerAddresses("127.16.64.0/18")
	if err != nil {
		t.Fatal(err)
	}
	name := types.NamespacedName{Namespace: "demo", Name: "shop"}
	for _, has := range []string{"127.16.0.2", "10.0.0.1", "", "x", "::1"} {
		a.adopt(name, has)
	}
	if ip, err := a.of(name); err != nil || ip.String() != "127.16.64.1" {
		t.Errorf("it got %s: %v", ip, err)
	}
}
