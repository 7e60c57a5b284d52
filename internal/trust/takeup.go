package trust

import (
	"context"
	"crypto/x509"
	"fmt"
)

// Rebuild is how a hub that lost its records learns of clusters: from agents that
// renew, of which each shows that this authority once certified its key.
type Rebuild struct {
	// Peer is the certificate that the caller showed, whose key it has, and which
	// nobody has verified; nil without one.
	Peer func(context.Context) *x509.Certificate
	// TakeUp records a cluster; nobody may serve it before a person confirms it.
	// One that was taken up before and removed it refuses.
	TakeUp func(ctx context.Context, cluster string, id Enrolled) error
}

// takeUp records a cluster that a hub, being rebuilt, knows nothing of. Its agent
// proves the key by the request, and that this authority once certified it for
// the cluster by the certificate that it shows; that may have expired with the
// hub away. Whether the cluster was removed before the loss nobody here knows, so
// a person confirms it.
func (s *Server) takeUp(ctx context.Context, req *RenewRequest, k renewal) error {
	known, err := s.registry.Lookup(ctx, req.Cluster)
	if err != nil {
		return fmt.Errorf("look up cluster %s: %w", req.Cluster, err)
	}
	if !known.unclaimed() {
		return nil
	}
	cert := s.rebuild.Peer(ctx)
	if err := s.certified(cert, req.Cluster, k.fingerprint); err != nil {
		return refuse(Revoked, "this hub is being rebuilt and knows nothing of cluster %s: %v; make it join again: atoll join %s", req.Cluster, err, req.Cluster)
	}
	err = s.rebuild.TakeUp(ctx, req.Cluster, Enrolled{
		ClusterUID: req.ClusterUID, Fingerprint: k.fingerprint, SealingKey: req.SealingKey, AgentVersion: req.AgentVersion, Expires: cert.NotAfter,
	})
	if err != nil {
		return fmt.Errorf("take up cluster %s: %w", req.Cluster, err)
	}
	s.log.Info("cluster taken up; it waits to be confirmed", "cluster", req.Cluster, "fingerprint", k.fingerprint, "certified until", cert.NotAfter)
	return nil
}

// certified refuses what this authority did not sign for that key of the cluster.
func (s *Server) certified(cert *x509.Certificate, cluster, fingerprint string) error {
	if cert == nil {
		return fmt.Errorf("its agent shows no certificate")
	}
	name, err := clusterOf(cert)
	if err != nil {
		return err
	}
	if name != cluster || fingerprintDER(cert.RawSubjectPublicKeyInfo) != fingerprint {
		return fmt.Errorf("its agent shows a certificate of another")
	}
	roots, err := s.ca.everyRoot()
	if err != nil {
		return err
	}
	// Not now: with the hub away, none could be renewed.
	opts := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: cert.NotAfter}
	if _, err := cert.Verify(opts); err != nil {
		return fmt.Errorf("its agent's certificate is not by this hub's authority: %w", err)
	}
	return nil
}
