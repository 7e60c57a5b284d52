package trust

import (
	"context"
	"errors"
	"time"
)

// oneCluster is a Registry of a single cluster that counts writes.
type oneCluster struct {
	name   string
	e      Enrolment
	token  *TokenRecord
	writes int
}

func (o *oneCluster) Lookup(_ context.Context, cluster string) (Enrolment, error) {
	if cluster != o.name {
		return Enrolment{}, nil
	}
	return o.e, nil
}

func (o *oneCluster) Token(context.Context, string) (*TokenRecord, error) { return o.token, nil }

func (o *oneCluster) ByClusterUID(_ context.Context, uid string) (string, error) {
	if o.e.Identity != nil && o.e.Identity.ClusterUID == uid {
		return o.name, nil
	}
	return "", nil
}

func (o *oneCluster) ConsumeToken(_ context.Context, _, _, fingerprint string, at time.Time) error {
	o.writes++
	o.token.UsedBy, o.token.UsedAt = fingerprint, at
	return nil
}

func (o *oneCluster) SaveIdentity(_ context.Context, cluster string, id Enrolled) error {
	if cluster != o.name {
		return errors.New("no such cluster")
	}
	o.writes++
	o.e.Identity = &id
	return nil
}

func (o *oneCluster) Renewed(context.Context, string, Renewal) error {
	o.writes++
	return nil
}

func (o *oneCluster) SetPending(_ context.Context, _, fingerprint string, _ time.Time) error {
	o.writes++
	o.e.Identity.Pending = fingerprint
	return nil
}

func (o *oneCluster) Promote(_ context.Context, _, fingerprint string) error {
	o.writes++
	o.e.Identity.Fingerprint, o.e.Identity.Pending = fingerprint, ""
	return nil
}
