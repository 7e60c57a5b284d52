package certificates_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/certificates"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func made(t testing.TB, ends time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root-1"}, NotBefore: now.Add(-time.Hour), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestACertificateIsLateWhileThereIsTimeToAct(t *testing.T) {
	ends := now.Add(200 * 24 * time.Hour)
	c, err := certificates.Parse("agents' root", made(t, ends), certificates.OfRoot)
	if err != nil {
		t.Fatal(err)
	}
	want := certificates.Certificate{Use: "agents' root", Name: "root-1", Issuer: "root-1", Begins: now.Add(-time.Hour), Expires: ends, Late: ends.Add(-180 * 24 * time.Hour), Renewal: "atoll hub rotate-root"}
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
	if c.Overdue(now) || !c.Overdue(c.Late) {
		t.Error("it is late before its time, or not at it")
	}
}

// An agent that is away renews whenever it comes back: nobody has to act.
func TestAnAgentIsLateWhileItIsConnectedAndNotWhileItIsAway(t *testing.T) {
	ends := metav1.NewTime(now.Add(time.Hour))
	cluster := func(name string, state v1alpha1.ConnectionState) v1alpha1.Cluster {
		return v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterSpec{Owner: "platform"}, Status: v1alpha1.ClusterStatus{
			Identity: &v1alpha1.AgentIdentity{CertificateExpires: &ends}, Connection: v1alpha1.Connection{State: state}}}
	}
	all := certificates.OfAgents([]v1alpha1.Cluster{cluster("here", v1alpha1.Connected), cluster("away", v1alpha1.Disconnected), {ObjectMeta: metav1.ObjectMeta{Name: "never"}}})
	if len(all) != 2 || !all[0].Overdue(now) || all[1].Overdue(now) || all[0].Owner != "platform" {
		t.Errorf("%+v", all)
	}
}

func TestExpiringIsWhatEndsWithinATimeFirstFirst(t *testing.T) {
	all := []certificates.Certificate{{Use: "c", Expires: now.Add(3 * time.Hour)}, {Use: "a", Expires: now.Add(-time.Hour)}, {Use: "b", Expires: now.Add(time.Hour)}}
	certificates.Sort(all)
	for within, want := range map[time.Duration]string{0: "abc", time.Hour: "ab", time.Minute: "a"} {
		got := ""
		for _, c := range certificates.Expiring(all, within, now) {
			got += c.Use
		}
		if got != want {
			t.Errorf("within %s: %s", within, got)
		}
	}
}

// Files are put into the keys by people: what is none is said, and a key that lies
// before a certificate is not shown.
func FuzzParse(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"))
	f.Add(made(f, now))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := certificates.Parse("API", data, certificates.OfServing)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "read the certificate of the API: ") {
				t.Error(err)
			}
			return
		}
		if c.Use != "API" || c.Name == "" {
			t.Errorf("%+v", c)
		}
		_, _ = json.Marshal(c)
	})
}
