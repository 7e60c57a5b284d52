package trust

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// TokenLife is how long a join token can be used.
const TokenLife = time.Hour

const (
	tokenPrefix = "atoll1"
	tokenBytes  = 32
)

// TokenRecord is all that the hub keeps of a token.
type TokenRecord struct {
	// Cluster is the one it was made for.
	Cluster string `json:"cluster"`
	// Hash is the hex SHA-256 of the whole token. Its secret has 256 random
	// bits, so no slower hash is needed.
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
	// UsedAt and UsedBy, the key's fingerprint, are set by its one use.
	UsedAt time.Time `json:"usedAt,omitzero"`
	UsedBy string    `json:"usedBy,omitempty"`
}

// NewToken makes a join token for a cluster: "atoll1.<cluster>.<secret>".
func NewToken(cluster string, now time.Time) (string, TokenRecord) {
	secret := make([]byte, tokenBytes)
	rand.Read(secret) // never fails
	token := strings.Join([]string{tokenPrefix, cluster, base64.RawURLEncoding.EncodeToString(secret)}, ".")
	return token, TokenRecord{Cluster: cluster, Hash: hashToken(token), Expires: now.Add(TokenLife).UTC()}
}

// ParseToken returns the cluster that a token was made for; it proves nothing.
func ParseToken(token string) (cluster string, err error) {
	prefix, rest, _ := strings.Cut(token, ".")
	cluster, secret, ok := strings.Cut(rest, ".")
	if raw, err := base64.RawURLEncoding.DecodeString(secret); !ok || prefix != tokenPrefix || cluster == "" || err != nil || len(raw) != tokenBytes {
		return "", fmt.Errorf("a join token reads %s.CLUSTER.SECRET, this is not one", tokenPrefix)
	}
	return cluster, nil
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// check says whether the key may join cluster with token. The words differ
// only for a caller who has the right secret: for all others the token is
// unknown.
func (r *TokenRecord) check(token, cluster, fingerprint string, now time.Time) *Refused {
	made, err := ParseToken(token)
	switch {
	case err != nil:
		return refuse(TokenUnknown, "%v", err)
	case made != cluster:
		return refuse(TokenOtherCluster, "this token was made for cluster %s, not for %s", made, cluster)
	case r == nil || subtle.ConstantTimeCompare([]byte(hashToken(token)), []byte(r.Hash)) != 1:
		return refuse(TokenUnknown, "this token for cluster %s is not known: a newer one may have replaced it; make one with: atoll join %s", cluster, cluster)
	case r.Cluster != cluster:
		return refuse(TokenOtherCluster, "this token was made for cluster %s, not for %s", r.Cluster, cluster)
	case r.UsedBy == fingerprint:
		return nil // a repetition after a crash, or while waiting to be accepted
	case r.UsedBy != "":
		return refuse(TokenUsed, "this token was used at %s by another agent: a token serves once; make one with: atoll join %s", r.UsedAt.UTC().Format(time.RFC3339), cluster)
	case !now.Before(r.Expires):
		return refuse(TokenExpired, "this token expired at %s: a token lasts an hour; make one with: atoll join %s", r.Expires.UTC().Format(time.RFC3339), cluster)
	}
	return nil
}
