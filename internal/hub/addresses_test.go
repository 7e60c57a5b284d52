package hub

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

func TestAddressesThatNobodyCanDialAreRefused(t *testing.T) {
	for addresses, want := range map[string]string{
		"":                                  "agents are told to dial 127.0.0.1:7444",
		"localhost:7444":                    "agents are told to dial localhost:7444",
		"hub.example.org:7444":              "",
		"192.0.2.7:7444,fd00::7":            "",
		"Hub.example.org:7444,hub,[::7]:1":  "",
		"hub.example.org:7444,localhost":    "",
		"hub.example.org":                   `--public-address "hub.example.org" is not host:port, and it is what agents are told to dial`,
		"hub.example.org:7444,0.0.0.0":      `"0.0.0.0" is where to listen`,
		"hub.example.org:7444,[::]:7444":    `"[::]:7444" is where to listen`,
		"hub.example.org:7444,:7444":        `":7444" is neither`,
		"hub.example.org:7444,https://hub":  `"https://hub" has no port`,
		"hub.example.org:7444,hub/x":        `"hub/x" is neither`,
		"hub.example.org:0":                 `has no port`,
		"hub.example.org:7444,hub.b:123456": `has no port`,
	} {
		o := Options{Listen: "0.0.0.0:7443", AgentListen: "127.0.0.1:7444"}
		if addresses != "" {
			o.PublicAddresses = strings.Split(addresses, ",")
		}
		var words strings.Builder
		err := o.checkAddresses(&words)
		if err != nil {
			words.WriteString(err.Error())
		}
		if got := words.String(); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", addresses, got, want)
		}
	}
}

// A hub that is given another list starts with what it has, and answers by the
// new names at once.
func TestBothPortsAnswerByEachPublicAddress(t *testing.T) {
	// Its own loopback address, since what the hub says of its port is the public one.
	agents := fmt.Sprintf("127.77.%d.%d:7444", rand.IntN(256), 1+rand.IntN(254))
	o := Options{DataDir: filepath.Join(t.TempDir(), "data"), AgentListen: agents}
	for _, names := range [][]string{{"hub.example.org", "192.0.2.7", "fd00::7"}, {"other.example.org", "fd00::7"}} {
		o.PublicAddresses = append([]string{names[0] + ":7444"}, names[1:]...)
		hub := begin(t, o)
		w := hub.leads(t)
		b := &bench{T: t, world: w}

		ca, err := trust.OpenCA(filepath.Join(o.DataDir, "pki"), time.Now)
		b.must(err)
		roots := x509.NewCertPool()
		pem, err := os.ReadFile(filepath.Join(o.DataDir, "pki", "ca.crt"))
		b.must(err)
		roots.AppendCertsFromPEM(pem)
		for _, name := range append(names, "localhost", "127.0.0.1") {
			b.must(answers(w.ready.API, name, roots))
			b.must(answers(agents, name, ca.Pool(), wire.ProtoRenew))
		}
		if answers(w.ready.API, "elsewhere.example.org", roots) == nil || answers(agents, "elsewhere.example.org", ca.Pool(), wire.ProtoRenew) == nil {
			t.Error("the hub answers by a name that is not its own")
		}

		name, _, _ := strings.Cut(names[0], ".")
		b.register(name, nil)
		if ticket := b.ticket(name); ticket.Address != names[0]+":7444" {
			t.Errorf("a ticket has agents dial %s", ticket.Address)
		}
		hub.stop()
		b.must(<-hub.ended)
		hub.ended <- nil // for the end of the test
	}
}

func answers(address, name string, roots *x509.CertPool, protocols ...string) error {
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: name, RootCAs: roots, NextProtos: protocols})
	if err != nil {
		return err
	}
	return conn.Close()
}
