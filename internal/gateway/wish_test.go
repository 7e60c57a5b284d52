package gateway_test

import (
	"testing"
	"time"

	"atoll.dev/atoll/internal/wire"
)

func TestAnAgentHearsWhichImageItShouldRunWheneverItCanHearAnything(t *testing.T) {
	h := newHub(t, time.Hour)
	wished := func(a *agent, image string) {
		t.Helper()
		if m := a.next("a wish", func(m wire.Message) bool { return m.Upgrade != nil }); m.Upgrade.Image != image {
			t.Errorf("it hears of %s", m.Upgrade.Image)
		}
	}
	h.gateway.Wish("a", &wire.Upgrade{Image: "agent:v2"})
	a := h.connect("a", wire.Hello{})
	wished(a, "agent:v2")
	h.gateway.Wish("a", &wire.Upgrade{Image: "agent:v2"})
	h.gateway.Wish("a", &wire.Upgrade{Image: "agent:v3"})
	wished(a, "agent:v3")

	old := h.dial("a", wire.Hello{Cluster: "a", MinVersion: -9, MaxVersion: -9}).listen()
	wished(old, "agent:v3")
	if m := old.next("a refusal", func(wire.Message) bool { return true }); m.Refusal == nil || m.Refusal.Reason != "VersionSkew" {
		t.Errorf("after that it hears %+v", m)
	}
}
