package trust

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

const (
	nonceLife = 2 * time.Minute
	// nonceLimit bounds the memory of used nonces: at the default rates it is
	// far above what agents of a whole fleet use in two minutes.
	nonceLimit = 200_000

	nonceRandom = 16
	nonceStamp  = nonceRandom + 8
	nonceSize   = nonceStamp + sha256.Size
)

// nonces makes challenges that need no memory until they are used: random
// bytes and an expiry under an HMAC that also covers the cluster. The key
// lives as long as the process, so after a change of leader an agent asks for
// another nonce.
type nonces struct {
	key []byte
	now func() time.Time

	mu   sync.Mutex
	used map[[nonceRandom]byte]time.Time // to their expiry
	next time.Time                       // when to forget the expired
}

func newNonces(now func() time.Time) *nonces {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails
	return &nonces{key: key, now: now, used: map[[nonceRandom]byte]time.Time{}}
}

func (n *nonces) make(cluster string) string {
	raw := make([]byte, nonceStamp, nonceSize)
	rand.Read(raw[:nonceRandom]) // never fails
	binary.BigEndian.PutUint64(raw[nonceRandom:], uint64(n.now().Add(nonceLife).UnixMilli()))
	return base64.RawURLEncoding.EncodeToString(n.seal(raw, cluster))
}

func (n *nonces) seal(raw []byte, cluster string) []byte {
	mac := hmac.New(sha256.New, n.key)
	mac.Write(raw[:nonceStamp])
	mac.Write([]byte(cluster))
	return mac.Sum(raw[:nonceStamp:nonceStamp])
}

// use takes a nonce; a second time it is refused.
func (n *nonces) use(nonce, cluster string) *Refused {
	again := refuse(BadNonce, "the challenge is not a fresh one of this hub for cluster %s: ask for another", cluster).retry(time.Second)
	raw, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(raw) != nonceSize || !hmac.Equal(raw, n.seal(raw, cluster)) {
		return again
	}
	expires := time.UnixMilli(int64(binary.BigEndian.Uint64(raw[nonceRandom:nonceStamp])))
	now := n.now()
	if !now.Before(expires) {
		return again
	}
	id := [nonceRandom]byte(raw)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(now)
	if _, used := n.used[id]; used {
		return again
	}
	if len(n.used) >= nonceLimit {
		return refuse(Busy, "too many agents join or renew at once").retry(nonceLife)
	}
	n.used[id] = expires
	return nil
}

func (n *nonces) forget(now time.Time) {
	if now.Before(n.next) {
		return
	}
	n.next = now.Add(nonceLife / 4)
	for id, expires := range n.used {
		if !now.Before(expires) {
			delete(n.used, id)
		}
	}
}
