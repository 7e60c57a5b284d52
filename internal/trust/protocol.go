package trust

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
)

// Paths of the v0 protocol: HTTP/1.1 with JSON bodies on wire.ProtoRenew. It
// is frozen: fields are only added, unknown ones are ignored.
const (
	PathChallenge = "/v0/challenge"
	PathJoin      = "/v0/join"
	PathRenew     = "/v0/renew"
)

// ChallengeRequest asks for a nonce to sign.
type ChallengeRequest struct {
	Cluster string `json:"cluster"`
}

// Challenge is good for one request within two minutes.
type Challenge struct {
	Nonce string `json:"nonce"`
}

// JoinRequest enrols an agent, or asks again whether it was accepted.
type JoinRequest struct {
	Cluster string `json:"cluster"`
	Nonce   string `json:"nonce"`
	// Token is needed the first time; with a key that is enrolled already it
	// may be left out.
	Token string `json:"token,omitempty"`
	// CSR is a PKCS#10 request, DER. Only its key counts.
	CSR []byte `json:"csr"`
	// SealingKey is the public key that secret values are sealed to.
	SealingKey string `json:"sealingKey"`
	// ClusterUID is the UID of the member's kube-system namespace.
	ClusterUID   string `json:"clusterUID"`
	AgentVersion string `json:"agentVersion,omitempty"`
	// Signature by the CSR's key, see proof.
	Signature []byte `json:"signature"`
}

// State of a JoinResponse.
const (
	StatePending = "Pending"
	StateIssued  = "Issued"
)

// JoinResponse answers a JoinRequest. Certificate is empty while Pending.
type JoinResponse struct {
	State             string `json:"state"`
	Certificate       string `json:"certificate,omitempty"`
	Roots             Roots  `json:"roots"`
	RetryAfterSeconds int    `json:"retryAfterSeconds,omitempty"`
}

// RenewRequest asks for the next certificate, with the same key or a new one.
type RenewRequest struct {
	Cluster string `json:"cluster"`
	Nonce   string `json:"nonce"`
	// PublicKey is the enrolled key, PKIX DER.
	PublicKey []byte `json:"publicKey"`
	// CSR is for the key to certify, DER: the enrolled one or its successor.
	CSR          []byte `json:"csr"`
	SealingKey   string `json:"sealingKey"`
	ClusterUID   string `json:"clusterUID"`
	AgentVersion string `json:"agentVersion,omitempty"`
	// Signature by PublicKey.
	Signature []byte `json:"signature"`
	// NewSignature by the CSR's key, when that is another one: nobody enrols
	// a key that is not theirs.
	NewSignature []byte `json:"newSignature,omitempty"`
}

// RenewResponse answers a RenewRequest.
type RenewResponse struct {
	Certificate string `json:"certificate"`
	Roots       Roots  `json:"roots"`
}

// ErrorResponse is the body of every answer that is not 200.
type ErrorResponse struct {
	Reason            Reason `json:"reason"`
	Message           string `json:"message"`
	RetryAfterSeconds int    `json:"retryAfterSeconds,omitempty"`
}

// proof is what a key signs: SHA-256 over the protocol, the operation and
// every field that the hub acts on, each led by its length (4 bytes, big
// endian), so that no two requests give the same bytes.
type proof struct {
	operation    string
	cluster      string
	nonce        string
	token        string
	publicKey    []byte
	csr          []byte
	sealingKey   string
	clusterUID   string
	agentVersion string
}

func (r *JoinRequest) proof() proof {
	return proof{"join", r.Cluster, r.Nonce, r.Token, nil, r.CSR, r.SealingKey, r.ClusterUID, r.AgentVersion}
}

func (r *RenewRequest) proof() proof {
	return proof{"renew", r.Cluster, r.Nonce, "", r.PublicKey, r.CSR, r.SealingKey, r.ClusterUID, r.AgentVersion}
}

func (p proof) digest() []byte {
	h := sha256.New()
	for _, field := range [][]byte{
		[]byte("atoll-renew/1"), []byte(p.operation), []byte(p.cluster), []byte(p.nonce), []byte(p.token), p.publicKey,
		p.csr, []byte(p.sealingKey), []byte(p.clusterUID), []byte(p.agentVersion),
	} {
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(field))) // #nosec G115 -- bodies are far below 4 GiB
		h.Write(length[:])
		h.Write(field)
	}
	return h.Sum(nil)
}

func (p proof) sign(key *ecdsa.PrivateKey) ([]byte, error) {
	signature, err := ecdsa.SignASN1(rand.Reader, key, p.digest())
	if err != nil {
		return nil, fmt.Errorf("sign %s of cluster %s: %w", p.operation, p.cluster, err)
	}
	return signature, nil
}

func (p proof) signedBy(key *ecdsa.PublicKey, signature []byte) bool {
	return ecdsa.VerifyASN1(key, p.digest(), signature)
}

// publicKeyOf takes the one thing that counts from a CSR; subject, names and
// extensions are the hub's to set.
func publicKeyOf(csr []byte) (*ecdsa.PublicKey, error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("read CSR: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check CSR: %w", err)
	}
	return p256(req.PublicKey)
}

func parsePublicKey(der []byte) (*ecdsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	return p256(key)
}

func p256(key any) (*ecdsa.PublicKey, error) {
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Params().Name != "P-256" {
		return nil, fmt.Errorf("the key is not ECDSA P-256")
	}
	return public, nil
}
