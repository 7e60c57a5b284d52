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

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver/pki"
)

// A leader that cannot renew stops after renewDeadline, so well before anyone
// else may lead.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	leaseRetry    = 2 * time.Second
)

// errLostLease ends a hub: what it began as a leader cannot be undone piece by
// piece, and started again it stands by.
var errLostLease = errors.New("this hub could not renew its Lease in time, so another may lead now; start it again and it stands by")

// candidate is a hub that shares its store with others, or may.
type candidate struct {
	kube     kubernetes.Interface
	identity string
	// shared says that every hub of the store sees the same content.
	shared bool
	// following is told who leads.
	following func(leader string)
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
	err := live.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: recordName}, lease)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the hub's Lease: %w", err)
	}
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" && *holder != c.identity && !c.shared {
		return fmt.Errorf("hub %s leads this store, or did last: more than one hub needs content that they share, so start each with --content DIR on a shared volume", *holder)
	}
	return nil
}

// lead waits for the Lease, and then does work until ctx ends or the Lease is
// lost. The Lease is given up after work has ended, not before.
func (c *candidate) lead(ctx context.Context, work func(context.Context) error) error {
	electing, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	var first sync.Once // of the beginning of work and the end of the election
	began, ended := false, make(chan error, 1)
	begin := func(leading context.Context) {
		first.Do(func() { began = true })
		if !began {
			return
		}
		defer resign()
		working, stop := context.WithCancelCause(ctx)
		defer context.AfterFunc(leading, func() { stop(errLostLease) })()
		ended <- work(working)
	}
	defer context.AfterFunc(ctx, func() {
		first.Do(resign)
	})()
	elector, err := leaderelection.NewLeaderElector(c.config(begin))
	if err != nil {
		return fmt.Errorf("prepare the election of a leader: %w", err)
	}
	elector.Run(electing)
	first.Do(func() {})
	if !began {
		return nil
	}
	return <-ended
}

func (c *candidate) config(begin func(context.Context)) leaderelection.LeaderElectionConfig {
	return leaderelection.LeaderElectionConfig{
		Name: recordName,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: recordName},
			Client:     c.kube.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: c.identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: leaseRetry,
		// Without shared content nobody else may lead, and the name that stays in
		// the Lease says so.
		ReleaseOnCancel: c.shared,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: begin,
			OnStoppedLeading: func() {},
			OnNewLeader: func(leader string) {
				if leader != c.identity {
					c.following(leader)
				}
			},
		},
	}
}
