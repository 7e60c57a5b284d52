package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/testfleet"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

// stolen is the identity that an agent keeps in its member.
func stolen(t *testing.T, m *testfleet.Member) trust.Identity {
	t.Helper()
	secret := &corev1.Secret{}
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "atoll-agent-identity"}, secret); err != nil {
		t.Fatal(err)
	}
	id, err := trust.ParseIdentity(secret.Data)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// say dials the hub as id, says hello and returns the hub's answer.
func say(t *testing.T, f *testfleet.Fleet, id trust.Identity, hello wire.Hello) wire.Message {
	t.Helper()
	pool, err := id.Roots.Pool()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(id.Certificate))
	s, err := link.Dial(t.Context(), link.DialConfig{
		Address: f.Hub.Agents,
		Roots:   func() *x509.CertPool { return pool },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: id.Key}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(nil)
	if err := s.Send(t.Context(), wire.Message{Hello: &hello}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnAgentWithTheIdentityOfOneClusterCannotSpeakForAnother(t *testing.T) {
	f := fleet(t)
	app := shop(t, f)
	a, b := stolen(t, f.Member("a")), stolen(t, f.Member("b"))
	hello := wire.Hello{MinVersion: wire.MinVersion, MaxVersion: wire.Version, Instance: "hostile"}
	for what, claim := range map[string]wire.Hello{
		"the name of b":             {Cluster: "b", ClusterUID: a.ClusterUID},
		"the name and UID of b":     {Cluster: "b", ClusterUID: b.ClusterUID},
		"its own name with b's UID": {Cluster: "a", ClusterUID: b.ClusterUID},
		"a name that nobody has":    {Cluster: "zz", ClusterUID: a.ClusterUID},
	} {
		hello.Cluster, hello.ClusterUID = claim.Cluster, claim.ClusterUID
		if answer := say(t, f, a, hello); answer.Refusal == nil || answer.Welcome != nil {
			t.Errorf("%s: the hub answers %+v", what, answer)
		}
	}
	// The same call with the truth is welcome, so it was the lie that was refused.
	hello.Cluster, hello.ClusterUID = "a", a.ClusterUID
	if answer := say(t, f, a, hello); answer.Welcome == nil {
		t.Errorf("its own name: the hub answers %+v", answer)
	}
	for _, name := range []string{"a", "b"} {
		app.On(name, "is connected and well", func(s fleetapi.ClusterState) bool {
			return s.Connection == v1alpha1.Connected && s.Current && s.State.Sync == report.InSync
		})
	}
}
