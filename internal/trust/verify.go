package trust

import (
	"context"
	"crypto/x509"
	"fmt"

	"atoll.dev/atoll/internal/wire"
)

// VerifyPeer decides about the certificate of a link that the roots verified:
// its key must be the one enrolled for the cluster it names, or the pending
// one, which is promoted by that. The error is a *Refused, or Busy's cause.
func (s *Server) VerifyPeer(ctx context.Context, cert *x509.Certificate) error {
	cluster, err := clusterOf(cert)
	if err != nil {
		return refuse(Revoked, "%v", err)
	}
	_, err = s.enrolled(ctx, cluster, fingerprintDER(cert.RawSubjectPublicKeyInfo))
	return err
}

// CheckHello holds an agent's first message against its certificate and the
// Kubernetes cluster that was enrolled: a certificate used under another name
// or copied to another cluster is refused.
func (s *Server) CheckHello(ctx context.Context, cert *x509.Certificate, hello wire.Hello) error {
	cluster, err := clusterOf(cert)
	if err != nil {
		return refuse(Revoked, "%v", err)
	}
	if hello.Cluster != cluster {
		return refuse(WrongCluster, "the agent calls itself %q, its certificate is that of cluster %s", hello.Cluster, cluster)
	}
	known, err := s.registry.Lookup(ctx, cluster)
	if err != nil {
		return fmt.Errorf("look up cluster %s: %w", cluster, err)
	}
	if known.Identity == nil {
		return refuse(Revoked, "cluster %s was removed from this hub", cluster)
	}
	if known.Identity.ClusterUID != hello.ClusterUID {
		return wrongCluster(cluster)
	}
	return nil
}
