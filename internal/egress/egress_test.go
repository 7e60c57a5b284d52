package egress_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"atoll.dev/atoll/internal/egress"
)

func TestAProjectCannotHaveTheHubDialItselfOrItsCloud(t *testing.T) {
	for _, addr := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "fe80::1%lo", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "224.0.0.1", "ff02::1", "0.1.2.3", "255.255.255.255",
	} {
		if err := (egress.Guard{}).Check(netip.MustParseAddr(addr)); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, addr := range []string{"10.250.3.4", "192.168.77.99", "203.0.113.7", "2001:db8::1"} {
		if err := (egress.Guard{}).Check(netip.MustParseAddr(addr)); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestWhatIsAllowedIsDialledAndTheRestIsNot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := (egress.Guard{}).DialContext(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("loopback: %v", err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if _, err := (egress.Guard{}).DialContext(t.Context(), "tcp", "localhost:"+port); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("a name of loopback: %v", err)
	}
	allow, err := egress.ParseAllow([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (egress.Guard{Allow: allow}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := egress.ParseAllow([]string{"everything"}); err == nil {
		t.Error("a word is taken for a network")
	}
}
