package trust

import "testing"

// A fleet that joins at once waits for the hub's disk: a join is the token and
// the identity with its first certificate, and asking again is one write.
func TestAJoinIsTwoWrites(t *testing.T) {
	a := newAttack(t)
	a.registry.e.Identity = nil
	fresh := &JoinRequest{
		Cluster: "eu-1", Token: a.token, CSR: a.csr(a.key, "eu-1"),
		SealingKey: "public", ClusterUID: "uid-1",
	}
	for _, want := range []int{2, 3} {
		fresh.Nonce = a.server.nonces.make("eu-1")
		fresh.Signature = a.sign(fresh.proof(), a.key)
		if _, err := a.server.join(t.Context(), fresh); err != nil {
			t.Fatal(err)
		}
		if a.registry.writes != want {
			t.Errorf("%d writes, want %d", a.registry.writes, want)
		}
		if a.registry.e.Identity.Expires.IsZero() {
			t.Error("the end of the certificate is not recorded")
		}
	}
}
