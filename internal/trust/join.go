package trust

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"regexp"
	"time"
)

// Limits of foreign strings, in bytes.
const (
	maxClusterUID   = 128
	maxSealingKey   = 4 << 10
	maxAgentVersion = 128
)

// join enrols a key and answers whether it was accepted. Everything before
// SaveIdentity may be repeated with the same key, so an agent or hub that
// crashed in between starts over.
func (s *Server) join(ctx context.Context, req *JoinRequest) (*JoinResponse, error) {
	key, fingerprint, err := s.prove(req)
	if err != nil {
		return nil, err
	}
	known, err := s.registry.Lookup(ctx, req.Cluster)
	if err != nil {
		return nil, fmt.Errorf("look up cluster %s: %w", req.Cluster, err)
	}
	record, err := s.enrol(ctx, req, known, fingerprint)
	if err != nil {
		return nil, err
	}
	grant := Renewal{SealingKey: req.SealingKey, AgentVersion: req.AgentVersion}
	if !known.Accepted {
		if err := record(ctx, grant); err != nil {
			return nil, fmt.Errorf("enrol cluster %s: %w", req.Cluster, err)
		}
		return &JoinResponse{State: StatePending, Roots: s.ca.Roots(), RetryAfterSeconds: int(pendingRetry / time.Second)}, nil
	}
	certificate, err := s.issue(ctx, req.Cluster, key, grant, record)
	if err != nil {
		return nil, err
	}
	return &JoinResponse{State: StateIssued, Certificate: certificate, Roots: s.ca.Roots()}, nil
}

// prove checks that the caller has the key it brings, here and now.
func (s *Server) prove(req *JoinRequest) (key *ecdsa.PublicKey, fingerprint string, err error) {
	if err := checkFields(req.Cluster, req.ClusterUID, req.SealingKey, req.AgentVersion); err != nil {
		return nil, "", err
	}
	if key, err = publicKeyOf(req.CSR); err != nil {
		return nil, "", refuse(BadRequest, "%v", err)
	}
	if refused := s.nonces.use(req.Nonce, req.Cluster); refused != nil {
		return nil, "", refused
	}
	if !req.proof().signedBy(key, req.Signature) {
		return nil, "", refuse(BadSignature, "the request is not signed with the key it brings")
	}
	fingerprint, err = Fingerprint(key)
	return key, fingerprint, err
}

// clusterName is a DNS label that starts with a letter, as admission has it.
// Other names go no further, not even into a log.
var clusterName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

func badName() *Refused {
	return refuse(BadRequest, "the request names no cluster: a name has at most 63 lower-case letters, digits and '-', and starts with a letter")
}

func checkFields(cluster, uid, sealingKey, version string) error {
	switch {
	case !clusterName.MatchString(cluster):
		return badName()
	case uid == "" || len(uid) > maxClusterUID:
		return refuse(BadRequest, "clusterUID is the UID of the kube-system namespace, at most %d bytes", maxClusterUID)
	case sealingKey == "" || len(sealingKey) > maxSealingKey:
		return refuse(BadRequest, "sealingKey is a public key, at most %d bytes", maxSealingKey)
	case len(version) > maxAgentVersion:
		return refuse(BadRequest, "agentVersion has at most %d bytes", maxAgentVersion)
	}
	return nil
}

// recording stores what an agent is given; nothing is given before it is stored.
type recording func(context.Context, Renewal) error

// enrol says how a key is recorded that may be certified once accepted; one
// that is recorded already needs no token, it is only asking again. A key and
// its first certificate are one write.
func (s *Server) enrol(ctx context.Context, req *JoinRequest, known Enrolment, fingerprint string) (recording, error) {
	if known.Exists && known.Identity != nil && known.Identity.knows(fingerprint) {
		if known.Identity.ClusterUID != req.ClusterUID {
			return nil, wrongCluster(req.Cluster)
		}
		return s.renewed(req.Cluster, known.Accepted), nil
	}
	token, err := s.registry.Token(ctx, req.Cluster)
	if err != nil {
		return nil, fmt.Errorf("look up the token of cluster %s: %w", req.Cluster, err)
	}
	if refused := token.check(req.Token, req.Cluster, fingerprint, s.now()); refused != nil {
		return nil, refused
	}
	if !known.Exists {
		return nil, refuse(Revoked, "cluster %s was removed from this hub", req.Cluster)
	}
	if err := s.unique(ctx, req, known); err != nil {
		return nil, err
	}
	if err := s.registry.ConsumeToken(ctx, req.Cluster, token.Hash, fingerprint, s.now()); err != nil {
		return nil, fmt.Errorf("use token of cluster %s: %w", req.Cluster, err)
	}
	return func(ctx context.Context, r Renewal) error {
		return s.registry.SaveIdentity(ctx, req.Cluster, Enrolled{
			ClusterUID: req.ClusterUID, Fingerprint: fingerprint, SealingKey: r.SealingKey, AgentVersion: r.AgentVersion, Expires: r.Expires,
		})
	}, nil
}

// renewed records a certificate; an agent that still waits for one changes nothing.
func (s *Server) renewed(cluster string, accepted bool) recording {
	return func(ctx context.Context, r Renewal) error {
		if !accepted {
			return nil
		}
		return s.registry.Renewed(ctx, cluster, r)
	}
}

// unique refuses one Kubernetes cluster under two names, and two under one.
func (s *Server) unique(ctx context.Context, req *JoinRequest, known Enrolment) error {
	if known.Identity != nil && known.Identity.ClusterUID != req.ClusterUID {
		return refuse(WrongCluster, "the name %s belongs to another Kubernetes cluster: choose another name, or run first: atoll remove %s", req.Cluster, req.Cluster)
	}
	other, err := s.registry.ByClusterUID(ctx, req.ClusterUID)
	if err != nil {
		return fmt.Errorf("look up kube-system UID %s: %w", req.ClusterUID, err)
	}
	if other != "" && other != req.Cluster {
		return refuse(AlreadyJoined, "this Kubernetes cluster has joined as %s already: to rename it run first: atoll remove %s", other, other)
	}
	return nil
}

func wrongCluster(cluster string) *Refused {
	return refuse(WrongCluster, "the agent of %s was enrolled in another Kubernetes cluster (its kube-system UID differs): a copied identity is refused", cluster)
}

// issue certifies an enrolled key and records until when.
func (s *Server) issue(ctx context.Context, cluster string, key *ecdsa.PublicKey, r Renewal, record recording) (certificate string, err error) {
	if certificate, r.Expires, err = s.ca.IssueAgent(key, cluster); err != nil {
		return "", err
	}
	if err := record(ctx, r); err != nil {
		return "", fmt.Errorf("record certificate of cluster %s: %w", cluster, err)
	}
	return certificate, nil
}
