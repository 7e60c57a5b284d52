// Package registry records who has enrolled: identities in Cluster objects,
// join tokens as hashes in Secrets. It is the trust.Registry of a hub, and the
// gateway's word on who may open a link.
package registry

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/gateway"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

// Registry reads and writes the API directly: a decision of trust is never
// made from a cache that may be behind. The one look through all clusters, the
// first time, is at the cache, made good by what this process itself enrolled:
// only the leader enrols.
type Registry struct {
	client    client.Client
	cached    client.Reader
	namespace string // of the tokens

	// enrolling is held from the look to the write, so that one Kubernetes
	// cluster that joins under two names at once is enrolled under one.
	enrolling turns
	enrolled  roll
	// takingUp is held while a cluster is, whose record is one with the others'.
	takingUp sync.Mutex
}

var _ trust.Registry = (*Registry)(nil)

// New uses live for decisions and cached for looking through all clusters;
// tokens lie in namespace.
func New(live client.Client, cached client.Reader, namespace string) *Registry {
	return &Registry{client: live, cached: cached, namespace: namespace}
}

// Lookup returns what is known of a cluster.
func (r *Registry) Lookup(ctx context.Context, name string) (trust.Enrolment, error) {
	c, err := r.cluster(ctx, name)
	if apierrors.IsNotFound(err) {
		return trust.Enrolment{}, nil
	}
	if err != nil {
		return trust.Enrolment{}, err
	}
	return trust.Enrolment{Exists: c.DeletionTimestamp == nil, Accepted: c.Confirmed(), Identity: enrolled(c.Status.Identity)}, nil
}

// Token is the newest join token of a cluster, nil without one.
func (r *Registry) Token(ctx context.Context, cluster string) (*trust.TokenRecord, error) {
	_, record, err := r.token(ctx, cluster)
	return record, client.IgnoreNotFound(err)
}

func enrolled(id *v1alpha1.AgentIdentity) *trust.Enrolled {
	if id == nil {
		return nil
	}
	e := &trust.Enrolled{
		ClusterUID:   id.ClusterUID,
		Fingerprint:  id.KeyFingerprint,
		Pending:      id.PendingKeyFingerprint,
		SealingKey:   id.SealingKey,
		AgentVersion: id.AgentVersion,
	}
	if id.CertificateExpires != nil {
		e.Expires = id.CertificateExpires.Time
	}
	return e
}

// ByClusterUID names the cluster enrolled with this kube-system UID.
func (r *Registry) ByClusterUID(ctx context.Context, uid string) (string, error) {
	name, err := r.enrolled.find(uid, func() (map[string]string, error) { return r.before(ctx) })
	if err != nil || name == "" {
		return "", err
	}
	c, err := r.cluster(ctx, name)
	switch {
	case err == nil && c.Status.Identity != nil && c.Status.Identity.ClusterUID == uid:
		return name, nil
	case client.IgnoreNotFound(err) != nil:
		return "", fmt.Errorf("read cluster %s: %w", name, err)
	}
	r.enrolled.strike(name, uid)
	return "", nil
}

// before are the UIDs of the clusters that had enrolled when this process began
// to enrol, by name.
func (r *Registry) before(ctx context.Context) (map[string]string, error) {
	var all v1alpha1.ClusterList
	if err := r.cached.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	uids := map[string]string{}
	for i := range all.Items {
		if id := all.Items[i].Status.Identity; id != nil {
			uids[all.Items[i].Name] = id.ClusterUID
		}
	}
	return uids, nil
}

func (r *Registry) tokenName(cluster string) types.NamespacedName {
	return types.NamespacedName{Namespace: r.namespace, Name: "join." + cluster}
}

const tokenKey = "record"

func (r *Registry) token(ctx context.Context, cluster string) (*corev1.Secret, *trust.TokenRecord, error) {
	s := &corev1.Secret{}
	if err := r.client.Get(ctx, r.tokenName(cluster), s); err != nil {
		return nil, nil, err
	}
	record := &trust.TokenRecord{}
	if err := json.Unmarshal(s.Data[tokenKey], record); err != nil {
		return nil, nil, fmt.Errorf("read the token record of cluster %s: %w", cluster, err)
	}
	return s, record, nil
}

// SaveToken makes record the only one that counts for its cluster.
func (r *Registry) SaveToken(ctx context.Context, record trust.TokenRecord) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	c, err := r.cluster(ctx, record.Cluster)
	if err != nil {
		return fmt.Errorf("make a token for cluster %s: %w", record.Cluster, err)
	}
	name := r.tokenName(record.Cluster)
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: name.Namespace, Name: name.Name,
			// It goes with its Cluster: the next of that name starts without.
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "Cluster", Name: c.Name, UID: c.UID,
			}},
		},
		Type: "atoll.dev/join-token",
		Data: map[string][]byte{tokenKey: data},
	}
	err = r.client.Create(ctx, s)
	if apierrors.IsAlreadyExists(err) {
		err = r.client.Update(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("store the token of cluster %s: %w", record.Cluster, err)
	}
	return nil
}

// ConsumeToken marks the token as used by the key, once.
func (r *Registry) ConsumeToken(ctx context.Context, cluster, hash, fingerprint string, at time.Time) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		s, record, err := r.token(ctx, cluster)
		if err != nil {
			return err
		}
		switch {
		case record.Hash != hash:
			return &trust.Refused{Reason: trust.TokenUnknown, Message: "a newer token for cluster " + cluster + " has replaced this one"}
		case record.UsedBy == fingerprint:
			return nil
		case record.UsedBy != "":
			return &trust.Refused{Reason: trust.TokenUsed, Message: "this token was used by another agent: a token serves once; make one with: atoll join " + cluster}
		}
		record.UsedAt, record.UsedBy = at, fingerprint
		if s.Data[tokenKey], err = json.Marshal(record); err != nil {
			return err
		}
		return r.client.Update(ctx, s)
	})
}

// SaveIdentity records id, whole, unless the same Kubernetes cluster has been
// enrolled under another name meanwhile.
func (r *Registry) SaveIdentity(ctx context.Context, cluster string, id trust.Enrolled) error {
	// The name first, always: nobody who has the turn of a UID waits for a name.
	defer r.enrolling.take("cluster " + cluster)()
	defer r.enrolling.take("uid " + id.ClusterUID)()
	other, err := r.ByClusterUID(ctx, id.ClusterUID)
	if err != nil {
		return err
	}
	if other != "" && other != cluster {
		return &trust.Refused{Reason: trust.AlreadyJoined, Message: "this Kubernetes cluster has joined as " + other + " a moment ago"}
	}
	if err := r.saveIdentity(ctx, cluster, id); err != nil {
		return err
	}
	r.enrolled.enter(cluster, id.ClusterUID)
	return nil
}

func (r *Registry) saveIdentity(ctx context.Context, cluster string, id trust.Enrolled) error {
	return r.edit(ctx, cluster, func(s *v1alpha1.ClusterStatus) {
		s.Identity = &v1alpha1.AgentIdentity{
			ClusterUID:            id.ClusterUID,
			KeyFingerprint:        id.Fingerprint,
			PendingKeyFingerprint: id.Pending,
			SealingKey:            id.SealingKey,
			AgentVersion:          id.AgentVersion,
			CertificateExpires:    expiry(id.Expires),
		}
	})
}

// Renewed records what a renewal brought and leaves the keys alone.
func (r *Registry) Renewed(ctx context.Context, cluster string, renewal trust.Renewal) error {
	return r.edit(ctx, cluster, func(s *v1alpha1.ClusterStatus) {
		if s.Identity != nil {
			s.Identity.SealingKey, s.Identity.AgentVersion = renewal.SealingKey, renewal.AgentVersion
			s.Identity.CertificateExpires = expiry(renewal.Expires)
		}
	})
}

// SetPending records a rotated key and the end of its certificate.
func (r *Registry) SetPending(ctx context.Context, cluster, fingerprint string, expires time.Time) error {
	return r.edit(ctx, cluster, func(s *v1alpha1.ClusterStatus) {
		if s.Identity != nil {
			s.Identity.PendingKeyFingerprint, s.Identity.CertificateExpires = fingerprint, expiry(expires)
		}
	})
}

// Promote makes the pending key the enrolled one.
func (r *Registry) Promote(ctx context.Context, cluster, fingerprint string) error {
	return r.edit(ctx, cluster, func(s *v1alpha1.ClusterStatus) {
		if s.Identity != nil && s.Identity.PendingKeyFingerprint == fingerprint {
			s.Identity.KeyFingerprint, s.Identity.PendingKeyFingerprint = fingerprint, ""
		}
	})
}

func expiry(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	m := metav1.NewTime(t.Truncate(time.Second))
	return &m
}

// edit changes a status under optimistic concurrency: two agents that come at
// once must not both believe they are recorded.
func (r *Registry) edit(ctx context.Context, cluster string, change func(*v1alpha1.ClusterStatus)) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		c, err := r.cluster(ctx, cluster)
		if err != nil {
			return err
		}
		change(&c.Status)
		return r.client.Status().Update(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("record the agent of cluster %s: %w", cluster, err)
	}
	return nil
}

func (r *Registry) cluster(ctx context.Context, name string) (*v1alpha1.Cluster, error) {
	c := &v1alpha1.Cluster{}
	if err := r.client.Get(ctx, types.NamespacedName{Name: name}, c); err != nil {
		return nil, err
	}
	return c, nil
}

// Admission is the gateway's check of a new link.
type Admission struct {
	Registry *Registry
	Trust    *trust.Server
}

// Admit holds the hello against the certificate, which the listener verified,
// and the enrolment; a refusal is a *gateway.Refused.
func (a *Admission) Admit(ctx context.Context, cert *x509.Certificate, hello *wire.Hello) (cluster, accepted string, err error) {
	if err := refusal(a.Trust.CheckHello(ctx, cert, *hello)); err != nil {
		return "", "", err
	}
	c, err := a.Registry.cluster(ctx, hello.Cluster)
	if err != nil {
		return "", "", busy()
	}
	return c.Name, c.Annotations[v1alpha1.AnnotationAcceptIncarnation], nil
}

// Recheck holds an open link against the records as they are now.
func (a *Admission) Recheck(ctx context.Context, cert *x509.Certificate, hello *wire.Hello) error {
	if err := refusal(a.Trust.VerifyPeer(ctx, cert)); err != nil {
		return err
	}
	return refusal(a.Trust.CheckHello(ctx, cert, *hello))
}

func refusal(err error) error {
	var refused *trust.Refused
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return &gateway.Refused{Refusal: refused.Refusal()}
	}
	return busy()
}

func busy() error {
	return &gateway.Refused{Refusal: wire.Refusal{
		Reason: string(trust.Busy), Message: "the hub cannot look up its records now", RetryAfterMillis: 5000,
	}}
}
