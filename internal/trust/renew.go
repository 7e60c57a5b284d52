package trust

import (
	"context"
	"crypto/ecdsa"
	"fmt"
)

// renew certifies an enrolled key again, however long its certificate has
// expired, or the key that is to succeed it.
func (s *Server) renew(ctx context.Context, req *RenewRequest) (*RenewResponse, error) {
	keys, err := s.proveRenewal(req)
	if err != nil {
		return nil, err
	}
	if s.rebuild != nil {
		if err := s.takeUp(ctx, req, keys); err != nil {
			return nil, err
		}
	}
	id, err := s.enrolled(ctx, req.Cluster, keys.fingerprint)
	if err != nil {
		return nil, err
	}
	if id.ClusterUID != req.ClusterUID {
		return nil, wrongCluster(req.Cluster)
	}
	certificate, err := s.certify(ctx, req, keys)
	if err != nil {
		return nil, err
	}
	return &RenewResponse{Certificate: certificate, Roots: s.ca.Roots()}, nil
}

// renewal is what a renewing caller has proved to hold.
type renewal struct {
	fingerprint    string           // of the enrolled key
	certify        *ecdsa.PublicKey // the same or its successor
	newFingerprint string
}

func (s *Server) proveRenewal(req *RenewRequest) (k renewal, err error) {
	if err := checkFields(req.Cluster, req.ClusterUID, req.SealingKey, req.AgentVersion); err != nil {
		return k, err
	}
	enrolled, err := parsePublicKey(req.PublicKey)
	if err != nil {
		return k, refuse(BadRequest, "%v", err)
	}
	if k.certify, err = publicKeyOf(req.CSR); err != nil {
		return k, refuse(BadRequest, "%v", err)
	}
	if refused := s.nonces.use(req.Nonce, req.Cluster); refused != nil {
		return k, refused
	}
	if !req.proof().signedBy(enrolled, req.Signature) {
		return k, refuse(BadSignature, "the request is not signed with the enrolled key")
	}
	if !k.certify.Equal(enrolled) && !req.proof().signedBy(k.certify, req.NewSignature) {
		return k, refuse(BadSignature, "the request is not signed with the new key")
	}
	if k.fingerprint, err = Fingerprint(enrolled); err != nil {
		return k, err
	}
	k.newFingerprint, err = Fingerprint(k.certify)
	return k, err
}

// enrolled finds the identity that a key belongs to. A key that is pending
// becomes the enrolled one by being used, the second phase of its rotation.
func (s *Server) enrolled(ctx context.Context, cluster, fingerprint string) (Enrolled, error) {
	known, err := s.registry.Lookup(ctx, cluster)
	if err != nil {
		return Enrolled{}, fmt.Errorf("look up cluster %s: %w", cluster, err)
	}
	switch {
	case s.rebuild != nil && known.unclaimed():
		return Enrolled{}, refuse(NotAccepted, "this hub is being rebuilt and does not know cluster %s yet: its agent shows itself by renewing its certificate", cluster).retry(pendingRetry)
	case !known.Exists || known.Identity == nil || !known.Identity.knows(fingerprint):
		// One sentence for all: a stranger must not learn which clusters exist.
		return Enrolled{}, refuse(Revoked, "this agent's key is not enrolled for cluster %s: the cluster was removed, or its agent replaced", cluster)
	case !known.Accepted:
		return Enrolled{}, refuse(NotAccepted, "cluster %s waits to be accepted: atoll accept %s", cluster, cluster).retry(pendingRetry)
	}
	id := *known.Identity
	if fingerprint != id.Pending || fingerprint == id.Fingerprint {
		return id, nil
	}
	if err := s.registry.Promote(ctx, cluster, fingerprint); err != nil {
		return Enrolled{}, fmt.Errorf("promote the new key of cluster %s: %w", cluster, err)
	}
	s.log.Info("agent's key rotated", "cluster", cluster, "fingerprint", fingerprint)
	id.Fingerprint, id.Pending = fingerprint, ""
	return id, nil
}

// certify signs the enrolled key, or a successor, the first phase of its
// rotation: until the successor is used, the enrolled key stays good.
func (s *Server) certify(ctx context.Context, req *RenewRequest, k renewal) (string, error) {
	if k.newFingerprint == k.fingerprint {
		return s.issue(ctx, req.Cluster, k.certify, Renewal{SealingKey: req.SealingKey, AgentVersion: req.AgentVersion}, s.renewed(req.Cluster, true))
	}
	certificate, expires, err := s.ca.IssueAgent(k.certify, req.Cluster)
	if err != nil {
		return "", err
	}
	if err := s.registry.SetPending(ctx, req.Cluster, k.newFingerprint, expires); err != nil {
		return "", fmt.Errorf("record the new key of cluster %s: %w", req.Cluster, err)
	}
	return certificate, nil
}
