package hub

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// A leader that cannot renew stops after renewDeadline, so well before anyone
// else may lead.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	leaseRetry    = 2 * time.Second
	// leaseTimeout leaves time for a second try within renewDeadline.
	leaseTimeout = 4 * time.Second
)

// errLostLease ends a hub: what it began as a leader cannot be undone piece by
// piece, and started again it stands by.
var errLostLease = errors.New("this hub could not renew its Lease in time, so another may lead now; start it again and it stands by")

// candidate is a hub that shares its store with others, or may.
type candidate struct {
	kube kubernetes.Interface
	// namespace is the Lease's.
	namespace string
	identity  string
	// shared says that every hub of the store sees the same content.
	shared bool
	// following is told who leads.
	following func(leader string)
	tenure    *tenure
}

func newCandidate(kube kubernetes.Interface, namespace, identity string, shared bool, following func(leader string)) *candidate {
	return &candidate{kube: kube, namespace: namespace, identity: identity, shared: shared, following: following, tenure: &tenure{
		Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: recordName},
			Client:     kube.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
	}}
}

// replicaName tells hubs of one store apart and is the same after a restart:
// the lock of the data directory proves that the one before is gone, so no time
// is lost with waiting for its Lease to run out.
func replicaName(dataDir string) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name this hub: %w", err)
	}
	path := filepath.Join(dataDir, "replica")
	id, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id = []byte(rand.Text())
		err = pki.WriteFile(path, id)
	}
	if err != nil {
		return "", fmt.Errorf("name this hub: %w", err)
	}
	// With the path, since a copied directory is another hub.
	sum := sha256.Sum256(append(id, dataDir...))
	return host + "_" + hex.EncodeToString(sum[:6]), nil
}

// check refuses to follow or succeed another hub whose content is not here.
func (c *candidate) check(ctx context.Context, live client.Client) error {
	lease := &coordinationv1.Lease{}
	err := live.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: recordName}, lease)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the hub's Lease: %w", err)
	}
	if holder := lease.Spec.HolderIdentity; holder != nil {
		return c.fits(*holder)
	}
	return nil
}

// fits refuses a leader whose content is not here; "" is none.
func (c *candidate) fits(leader string) error {
	if c.shared || leader == "" || leader == c.identity {
		return nil
	}
	return fmt.Errorf("hub %s leads this store, or did last: more than one hub needs content that they share, so start each with the same --content: DIR on a shared volume, or oci://HOST/REPOSITORY", leader)
}

// lead waits for the Lease, and then does work until ctx ends or the Lease is
// lost. The Lease is given up after work has ended, not before.
func (c *candidate) lead(ctx context.Context, work func(context.Context) error) error {
	electing, resign := context.WithCancelCause(context.WithoutCancel(ctx))
	defer resign(nil)
	c.tenure.lose = func() { resign(errLostLease) }
	var first sync.Once // of the beginning of work and the end of the election
	began, ended := false, make(chan error, 1)
	begin := func(leading context.Context) {
		first.Do(func() { began = true })
		if !began {
			return
		}
		defer resign(nil)
		working, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		defer context.AfterFunc(leading, func() { stop(errLostLease) })()
		err := work(working)
		c.tenure.workEnded()
		ended <- err
	}
	defer context.AfterFunc(ctx, func() {
		first.Do(func() { resign(nil) })
	})()
	elector, err := leaderelection.NewLeaderElector(c.config(begin, resign))
	if err != nil {
		return fmt.Errorf("prepare the election of a leader: %w", err)
	}
	elector.Run(electing)
	first.Do(func() {})
	if began {
		return <-ended
	}
	if cause := context.Cause(electing); ctx.Err() == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func (c *candidate) config(begin func(context.Context), resign context.CancelCauseFunc) leaderelection.LeaderElectionConfig {
	return leaderelection.LeaderElectionConfig{
		Name:          recordName,
		Lock:          c.tenure,
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: leaseRetry,
		// Without shared content nobody else may lead, and the name that stays in
		// the Lease says so.
		ReleaseOnCancel: c.shared,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: begin,
			OnStoppedLeading: func() {},
			OnNewLeader: func(leader string) {
				if leader == "" || leader == c.identity {
					return // nobody, after one gave its Lease up, is no news
				}
				// Two that began at once found no Lease when they checked.
				if err := c.fits(leader); err != nil {
					resign(err)
				}
				c.following(leader)
			},
		},
	}
}
