package trust

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"
)

// AgentLife is the life of an agent's certificate.
const AgentLife = 24 * time.Hour

// CA is the agents' certificate authority: it signs agents and the gateway,
// and nothing else of the hub.
type CA struct {
	path string
	now  func() time.Time

	mu       sync.Mutex
	sequence uint64
	current  *authority
	next     *authority
	// retired roots verify links until their time, and later only whom a hub
	// takes up that is being rebuilt.
	retired       []retiredRoot
	announcements []Announcement
	pool          *x509.CertPool // nil when to be built
	poolEnds      time.Time      // when a root in pool has had its time; zero for never
}

type retiredRoot struct {
	cert  *x509.Certificate
	until time.Time
}

// OpenCA loads the authority kept in dir, or makes one there.
func OpenCA(dir string, now func() time.Time) (*CA, error) {
	ca := &CA{path: caPath(dir), now: now}
	found, err := ca.load()
	if err != nil {
		return nil, fmt.Errorf("load agents' authority: %w", err)
	}
	if found {
		return ca, nil
	}
	if ca.current, err = newAuthority(now()); err == nil {
		ca.next, err = newAuthority(now())
	}
	if err == nil {
		err = ca.announceNext()
	}
	if err == nil {
		err = ca.save()
	}
	if err != nil {
		return nil, fmt.Errorf("make agents' authority: %w", err)
	}
	return ca, nil
}

// Roots is what agents are told to pin.
func (ca *CA) Roots() Roots {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return Roots{
		Sequence:      ca.sequence,
		Current:       encodeCertificate(ca.current.cert.Raw),
		Next:          encodeCertificate(ca.next.cert.Raw),
		Announcements: slices.Clone(ca.announcements),
	}
}

// Pool verifies agents' certificates: those of the current root, and of
// retired ones until the last agent they signed has had time to renew. It is
// the same pool until that changes.
func (ca *CA) Pool() *x509.CertPool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	now := ca.now()
	if ca.pool != nil && (ca.poolEnds.IsZero() || now.Before(ca.poolEnds)) {
		return ca.pool
	}
	ca.pool, ca.poolEnds = x509.NewCertPool(), time.Time{}
	ca.pool.AddCert(ca.current.cert)
	for _, r := range ca.retired {
		if !now.Before(r.until) {
			continue
		}
		ca.pool.AddCert(r.cert)
		if ca.poolEnds.IsZero() || r.until.Before(ca.poolEnds) {
			ca.poolEnds = r.until
		}
	}
	return ca.pool
}

// everyRoot verifies what any root signed, however long ago it was the current
// one.
func (ca *CA) everyRoot() (*x509.CertPool, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	pool := x509.NewCertPool()
	pool.AddCert(ca.current.cert)
	for _, r := range ca.retired {
		pool.AddCert(r.cert)
	}
	for _, a := range ca.announcements {
		root, err := parseCertificate(a.Root)
		if err != nil {
			return nil, fmt.Errorf("read announced root %d: %w", a.Sequence, err)
		}
		pool.AddCert(root)
	}
	return pool, nil
}

// Rotate makes the next root the current one and announces a new next one.
// Agents follow when they renew; those away longer follow by the chain of
// announcements.
func (ca *CA) Rotate() error {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	now := ca.now()
	next, err := newAuthority(now)
	if err != nil {
		return fmt.Errorf("rotate agents' authority: %w", err)
	}
	before := *ca.snapshot()
	ca.retired = append(slices.Clone(ca.retired), retiredRoot{cert: ca.current.cert, until: now.Add(AgentLife + time.Hour)})
	ca.current, ca.next, ca.pool = ca.next, next, nil
	if err = ca.announceNext(); err == nil {
		err = ca.save()
	}
	if err != nil {
		ca.restore(before)
		return fmt.Errorf("rotate agents' authority: %w", err)
	}
	return nil
}

// Refresh takes up what another process rotated, and says whether there was
// any. What is kept must go on from what this authority was: agents follow no
// other, and none back.
func (ca *CA) Refresh() (bool, error) {
	kept := &CA{path: ca.path, now: ca.now}
	found, err := kept.load()
	if err == nil && !found {
		err = fmt.Errorf("%s is gone", ca.path)
	}
	if err != nil {
		return false, fmt.Errorf("read agents' authority again: %w", err)
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	switch {
	case kept.announcements[0].Root != ca.announcements[0].Root:
		return false, fmt.Errorf("%s is another authority's: put back the one that this hub had", ca.path)
	case kept.sequence < ca.sequence:
		return false, fmt.Errorf("%s is older than what this hub has announced: put back the newer one", ca.path)
	case kept.sequence == ca.sequence:
		return false, nil
	}
	ca.restore(*kept.snapshot())
	return true, nil
}

// Succession says who signs now, who will next, and until when certificates of
// former roots open links; zero when there are none.
func (ca *CA) Succession() (current, next string, formerUntil time.Time) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	for _, r := range ca.retired {
		if r.until.After(formerUntil) && r.until.After(ca.now()) {
			formerUntil = r.until
		}
	}
	return ca.current.cert.Subject.CommonName, ca.next.cert.Subject.CommonName, formerUntil
}

type caSnapshot struct {
	sequence      uint64
	current, next *authority
	retired       []retiredRoot
	announcements []Announcement
}

func (ca *CA) snapshot() *caSnapshot {
	return &caSnapshot{ca.sequence, ca.current, ca.next, ca.retired, ca.announcements}
}

func (ca *CA) restore(s caSnapshot) {
	ca.sequence, ca.current, ca.next, ca.retired, ca.announcements = s.sequence, s.current, s.next, s.retired, s.announcements
	ca.pool = nil
}

func (ca *CA) announceNext() error {
	cross, err := ca.current.announce(ca.next, ca.now())
	if err != nil {
		return err
	}
	ca.sequence++
	ca.announcements = append(slices.Clone(ca.announcements), Announcement{
		Sequence: ca.sequence,
		Root:     encodeCertificate(ca.next.cert.Raw),
		Cross:    cross,
	})
	return nil
}

// IssueAgent signs a 24 h client certificate for a key of cluster, PEM. The
// subject is the hub's word: only the key is taken from a request.
func (ca *CA) IssueAgent(public *ecdsa.PublicKey, cluster string) (certificate string, expires time.Time, err error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	now := ca.now()
	expires = now.Add(AgentLife)
	der, err := ca.current.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: cluster},
		URIs:        []*url.URL{agentURI(cluster)},
		NotBefore:   now.Add(-backdate),
		NotAfter:    expires,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, public)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign agent of cluster %s: %w", cluster, err)
	}
	return encodeCertificate(der), expires, nil
}

// agentURI is an agent's name in its certificate: atoll://agent/<cluster>.
func agentURI(cluster string) *url.URL {
	return &url.URL{Scheme: "atoll", Host: "agent", Path: "/" + cluster}
}

// clusterOf is the cluster that a verified agent's certificate names.
func clusterOf(cert *x509.Certificate) (string, error) {
	cluster := cert.Subject.CommonName
	if cluster == "" || len(cert.URIs) != 1 || cert.URIs[0].String() != agentURI(cluster).String() {
		return "", fmt.Errorf("certificate %q is not an agent's", cluster)
	}
	return cluster, nil
}
