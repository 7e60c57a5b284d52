package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var server = Leaf{CommonName: "hub", Hosts: []string{"localhost", "127.0.0.1", "::1"}, Lifetime: time.Hour}

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	authority, err := OpenAuthority(t.TempDir(), "ca", "test")
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func TestAuthorityIsTheSameWhenOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenAuthority(dir, "ca", "test")
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenAuthority(dir, "ca", "another name")
	if err != nil {
		t.Fatal(err)
	}
	if !first.Certificate.Equal(second.Certificate) {
		t.Error("opening it again made a new authority")
	}
	if years := time.Until(second.Certificate.NotAfter).Hours() / 24 / 365; years < 9.99 || years > 10.01 {
		t.Errorf("it lasts %.2f years, want 10", years)
	}
	for _, name := range []string{"ca.crt", "ca.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestHalfAnAuthorityIsNeverReplaced(t *testing.T) {
	for _, lost := range []string{"ca.crt", "ca.key"} {
		dir := t.TempDir()
		if _, err := OpenAuthority(dir, "ca", "test"); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAuthority(dir, "ca", "test"); err == nil {
			t.Errorf("without %s a new authority was made", lost)
		}
	}
}

func TestKeyOfAnotherAuthorityIsRefused(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if _, err := OpenAuthority(d, "ca", "test"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(other, "ca.key"), filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, "ca", "test"); err == nil {
		t.Error("a key that does not belong to the certificate was accepted")
	}
}

func TestIssuedCertificatesVerifyForTheirUseOnly(t *testing.T) {
	authority := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	client := Leaf{CommonName: "someone", Groups: []string{"a", "b"}, Lifetime: time.Hour}
	for _, c := range []struct {
		leaf Leaf
		use  x509.ExtKeyUsage
		good bool
	}{
		{server, x509.ExtKeyUsageServerAuth, true},
		{server, x509.ExtKeyUsageClientAuth, false},
		{client, x509.ExtKeyUsageClientAuth, true},
		{client, x509.ExtKeyUsageServerAuth, false},
	} {
		cert := issue(t, authority, c.leaf)
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{c.use}})
		if (err == nil) != c.good {
			t.Errorf("%s used for %v: %v", c.leaf.CommonName, c.use, err)
		}
	}
}

func TestLeafIsKeptUntilSomethingAboutItChanges(t *testing.T) {
	authority, dir := newAuthority(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "x.crt"), filepath.Join(dir, "x.key")
	wrote := func(a *Authority, leaf Leaf, spare time.Duration) bool {
		t.Helper()
		wrote, err := a.EnsureLeaf(certFile, keyFile, leaf, spare)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
			t.Fatal(err)
		}
		return wrote
	}
	reordered, more := server, server
	reordered.Hosts = []string{"::1", "localhost", "127.0.0.1"}
	more.Hosts = append([]string{"hub.example.org"}, server.Hosts...)
	for _, step := range []struct {
		name  string
		wrote bool
		want  bool
	}{
		{"nothing there", wrote(authority, server, 0), true},
		{"the same again", wrote(authority, server, 0), false},
		{"hosts in another order", wrote(authority, reordered, 0), false},
		{"one more host", wrote(authority, more, 0), true},
		{"near its end", wrote(authority, more, 2*time.Hour), true},
		{"another authority", wrote(newAuthority(t), more, 0), true},
		{"key lost", func() bool { os.Remove(keyFile); return wrote(authority, more, 0) }(), true}, //nolint:errcheck // The step shows it.
	} {
		if step.wrote != step.want {
			t.Errorf("%s: wrote is %v, want %v", step.name, step.wrote, step.want)
		}
	}
}

// Whatever names are asked for, a certificate just issued for them is still good.
func TestWhatWasIssuedIsStillGood(t *testing.T) {
	authority := newAuthority(t)
	rapid.Check(t, func(t *rapid.T) {
		host := rapid.StringMatching(`[a-z]{1,8}(\.[a-z]{1,8}){0,2}|[1-9]\.[0-9]\.[0-9]\.[0-9]`)
		leaf := Leaf{
			CommonName: rapid.StringMatching(`[a-z:]{1,12}`).Draw(t, "name"),
			Groups:     rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z:]{1,12}`), 0, 3, rapid.ID).Draw(t, "groups"),
			Hosts:      rapid.SliceOfN(host, 0, 5).Draw(t, "hosts"),
			Lifetime:   time.Hour,
		}
		certPEM, _, err := authority.Issue(leaf)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if !authority.StillGood(certPEM, leaf, time.Minute, now) {
			t.Fatal("it is not good right away")
		}
		if authority.StillGood(certPEM, leaf, time.Minute, now.Add(time.Hour)) {
			t.Fatal("it is good after its end")
		}
		leaf.Groups = append(leaf.Groups, "system:masters")
		if authority.StillGood(certPEM, leaf, 0, now) {
			t.Fatal("it is good for a group that it does not carry")
		}
	})
}

func FuzzStillGoodAndParseKeyOnForeignFiles(f *testing.F) {
	dir := f.TempDir()
	authority, err := OpenAuthority(dir, "ca", "test")
	if err != nil {
		f.Fatal(err)
	}
	certPEM, keyPEM, err := newForeign(f).Issue(server)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(certPEM)
	f.Add(keyPEM)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if authority.StillGood(data, server, 0, time.Now()) {
			t.Error("a certificate that this authority never signed is good")
		}
		if key, err := parseKey(data); err == nil && key == nil {
			t.Error("no key and no error")
		}
	})
}

func newForeign(f *testing.F) *Authority {
	authority, err := OpenAuthority(f.TempDir(), "ca", "test")
	if err != nil {
		f.Fatal(err)
	}
	return authority
}

func issue(t *testing.T, authority *Authority, leaf Leaf) *x509.Certificate {
	t.Helper()
	certPEM, _, err := authority.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCertificate(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
