package trust

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type testingT interface {
	Helper()
	Fatal(args ...any)
}

func openCA(t testingT, dir string, now func() time.Time) *CA {
	t.Helper()
	ca, err := OpenCA(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func rotate(t testingT, ca *CA) {
	t.Helper()
	if err := ca.Rotate(); err != nil {
		t.Fatal(err)
	}
}

// handshake connects an agent that pins roots to a gateway, as TLS does.
func handshake(gateway *Gateway, roots Roots, name string, now time.Time) error {
	cert, err := gateway.GetCertificate(nil)
	if err != nil {
		return err
	}
	pool, err := roots.Pool()
	if err != nil {
		return err
	}
	intermediates := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		cross, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		intermediates.AddCert(cross)
	}
	_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: intermediates, DNSName: name, CurrentTime: now})
	return err
}

func TestAuthorityIsPrivateAndTheSameAfterARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki", "agents")
	first := openCA(t, dir, time.Now)
	rotate(t, first)
	second := openCA(t, dir, time.Now)
	if got, want := fmt.Sprint(second.Roots()), fmt.Sprint(first.Roots()); got != want {
		t.Error("the roots changed with a restart")
	}
	if !second.Pool().Equal(first.Pool()) {
		t.Error("agents are verified by other roots after a restart")
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADamagedAuthorityIsAnErrorNotANewOne(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"cut off":         func(s string) string { return s[:len(s)/2] },
		"empty":           func(string) string { return "" },
		"no next root":    func(s string) string { return strings.Replace(s, `"next"`, `"other"`, 1) },
		"no certificates": func(s string) string { return strings.ReplaceAll(s, "CERTIFICATE", "SOMETHING") },
	} {
		dir := t.TempDir()
		openCA(t, dir, time.Now)
		data, err := os.ReadFile(caPath(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(caPath(dir), []byte(damage(string(data))), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCA(dir, time.Now); err == nil {
			t.Errorf("%s: a damaged authority was opened or replaced", name)
		}
	}
}

func TestGatewayServesItsNamesOnly(t *testing.T) {
	ca := openCA(t, t.TempDir(), time.Now)
	gateway, err := ca.Gateway([]string{"hub.example.com", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{"hub.example.com": true, "127.0.0.1": true, "other.example.com": false, "127.0.0.2": false} {
		if err := handshake(gateway, ca.Roots(), name, time.Now()); (err == nil) != good {
			t.Errorf("as %s: %v", name, err)
		}
	}
	if _, err := ca.Gateway(nil); err == nil {
		t.Error("a gateway without a name")
	}
}

func TestGatewayRenewsItself(t *testing.T) {
	now := time.Now()
	ca := openCA(t, t.TempDir(), func() time.Time { return now })
	gateway, err := ca.Gateway([]string{"hub"})
	if err != nil {
		t.Fatal(err)
	}
	for range 60 {
		now = now.Add(24 * time.Hour)
		if err := handshake(gateway, ca.Roots(), "hub", now); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnAgentIsNoGateway(t *testing.T) {
	now := time.Now()
	ca := openCA(t, t.TempDir(), func() time.Time { return now })
	key := mustKey(t)
	text, _, err := ca.IssueAgent(&key.PublicKey, "hub")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := parseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	fake := &Gateway{ca: ca, cert: &tls.Certificate{Certificate: [][]byte{leaf.Raw}, Leaf: leaf}, seq: ca.sequence, due: now.Add(time.Hour)}
	if err := handshake(fake, ca.Roots(), "hub", now); err == nil {
		t.Error("an agent's certificate serves as the hub's")
	}
}

func TestRetiredRootsVerifyUntilTheirAgentsAreGone(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	ca := openCA(t, dir, func() time.Time { return now })
	key := mustKey(t)
	text, _, err := ca.IssueAgent(&key.PublicKey, "eu-1")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := parseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(ca *CA) error {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), CurrentTime: leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err
	}
	if first, second := ca.Pool(), ca.Pool(); first != second {
		t.Error("every handshake would build its own TLS settings")
	}
	rotate(t, ca)
	if err := verify(ca); err != nil {
		t.Errorf("a rotation threw an agent out: %v", err)
	}
	if err := verify(openCA(t, dir, func() time.Time { return now })); err != nil {
		t.Errorf("a restart after a rotation threw an agent out: %v", err)
	}
	now = now.Add(AgentLife + 2*time.Hour)
	if err := verify(ca); err == nil {
		t.Error("a retired root verifies for ever")
	}
}

func TestAgentsFollowAnyNumberOfRotations(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "ca")
		if err != nil {
			rt.Fatal(err)
		}
		now := time.Now()
		ca := openCA(rt, dir, func() time.Time { return now })
		gateway, err := ca.Gateway([]string{"hub"})
		if err != nil {
			rt.Fatal(err)
		}
		pinned := ca.Roots()
		for _, missed := range rapid.SliceOfN(rapid.IntRange(0, maxCross), 1, 3).Draw(rt, "rotations missed") {
			for range missed {
				rotate(rt, ca)
			}
			if err := handshake(gateway, pinned, "hub", now); err != nil {
				rt.Fatalf("after %d missed rotations the agent does not know the hub: %v", missed, err)
			}
			old := pinned
			if pinned, err = pinned.Follow(ca.Roots(), now); err != nil {
				rt.Fatal(err)
			}
			if pinned.Sequence != ca.sequence {
				rt.Fatalf("the agent pins %d, the hub is at %d", pinned.Sequence, ca.sequence)
			}
			if again, err := pinned.Follow(old, now); err != nil || again.Sequence != pinned.Sequence {
				rt.Fatalf("an old bundle turned the agent back (%v)", err)
			}
		}
	})
}

func TestRootsThatDoNotFollowAreRefused(t *testing.T) {
	now := time.Now()
	ca := openCA(t, t.TempDir(), time.Now)
	evil := openCA(t, t.TempDir(), time.Now)
	pinned := ca.Roots()
	rotate(t, ca)
	rotate(t, evil)
	rotate(t, evil)

	last := func(r *Roots) *Announcement { return &r.Announcements[len(r.Announcements)-1] }
	for name, forge := range map[string]func(r *Roots){
		"another hub's roots": func(r *Roots) { *r = evil.Roots() },
		"another next root":   func(r *Roots) { r.Next = evil.Roots().Next },
		"another next root under the announcement of the right one": func(r *Roots) { r.Next, last(r).Root = evil.Roots().Next, evil.Roots().Next },
		"another current root":       func(r *Roots) { r.Current = evil.Roots().Current },
		"no announcements":           func(r *Roots) { r.Announcements = nil },
		"no certificates":            func(r *Roots) { r.Current, r.Next = "", "" },
		"another hub's announcement": func(r *Roots) { *last(r) = *last(ptr(evil.Roots())); r.Next = evil.Roots().Next },
		"a root of the right name with another key": func(r *Roots) {
			r.Next = namesake(t, ca.next.cert)
			last(r).Root = r.Next
		},
		"a broken signature": func(r *Roots) { last(r).Cross = breakSignature(t, last(r).Cross) },
	} {
		t.Run(name, func(t *testing.T) {
			announced := ca.Roots()
			forge(&announced)
			kept, err := pinned.Follow(announced, now)
			if !errors.Is(err, ErrUntrustedRoots) {
				t.Errorf("got %v, want ErrUntrustedRoots", err)
			}
			if kept.Sequence != pinned.Sequence || kept.Current != pinned.Current || kept.Next != pinned.Next {
				t.Error("the pinned roots changed")
			}
		})
	}
	if _, err := pinned.Follow(ca.Roots(), now); err != nil {
		t.Errorf("the roots that all of these spoil: %v", err)
	}
}

// namesake is a self-signed root that calls itself like another.
func namesake(t *testing.T, of *x509.Certificate) string {
	t.Helper()
	key := mustKey(t)
	template := rootTemplate(of.Subject, time.Now())
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return encodeCertificate(der)
}

func ptr[T any](v T) *T { return &v }

// breakSignature changes the last bit of a certificate, which its signature ends with.
func breakSignature(t *testing.T, text string) string {
	t.Helper()
	cert, err := parseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	raw := append([]byte(nil), cert.Raw...)
	raw[len(raw)-1] ^= 1
	return encodeCertificate(raw)
}

func TestARotationByAnotherProcessIsTakenUpAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	running := openCA(t, dir, time.Now)
	gateway, err := running.Gateway([]string{"hub"})
	if err != nil {
		t.Fatal(err)
	}
	before := running.Roots()
	old, err := os.ReadFile(caPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if took, err := running.Refresh(); took || err != nil {
		t.Errorf("with nothing rotated: %v, %v", took, err)
	}
	rotate(t, openCA(t, dir, time.Now))
	if took, err := running.Refresh(); !took || err != nil {
		t.Fatalf("after a rotation: %v, %v", took, err)
	}
	after := running.Roots()
	if after.Current != before.Next {
		t.Error("the announced root does not sign")
	}
	for which, roots := range map[string]Roots{"before": before, "after": after} {
		if err := handshake(gateway, roots, "hub", time.Now()); err != nil {
			t.Errorf("an agent that pins the roots of %s: %v", which, err)
		}
	}
	foreign := t.TempDir()
	openCA(t, foreign, time.Now)
	other, err := os.ReadFile(caPath(foreign))
	if err != nil {
		t.Fatal(err)
	}
	for says, data := range map[string][]byte{"older than": old, "another authority": other, "read agents' authority again": nil} {
		if err := os.WriteFile(caPath(dir), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if took, err := running.Refresh(); took || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v", says, took, err)
		}
	}
	if got := running.Roots(); got.Sequence != after.Sequence || got.Current != after.Current {
		t.Error("the roots changed with a file that is refused")
	}
}
