package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/wire"
)

// recordName is the ConfigMap that says which history this store is of and how
// many leaders it has had.
const recordName = "atoll-hub"

func ensureNamespace(ctx context.Context, c client.Client, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := c.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", ns.Name, err)
	}
	return nil
}

// whereabouts say which hub leads and where the others reach it: host:port of
// its API. A hub that is alone in its store has none.
type whereabouts struct{ Name, Address string }

func (w whereabouts) write(record *corev1.ConfigMap) {
	for key, value := range map[string]string{"leader": w.Name, "address": w.Address} {
		if value == "" {
			delete(record.Data, key)
		} else {
			record.Data[key] = value
		}
	}
}

// takeTerm begins a new term. It is written before anything is said to an
// agent: two leaders never share a term, whatever crashes in between.
func takeTerm(ctx context.Context, c client.Client, namespace string, self whereabouts) (wire.Stamp, error) {
	record := &corev1.ConfigMap{}
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: recordName}, record)
	switch {
	case apierrors.IsNotFound(err):
		return firstTerm(ctx, c, namespace, self)
	case err != nil:
		return wire.Stamp{}, fmt.Errorf("read the hub's record: %w", err)
	}
	term, err := strconv.ParseUint(record.Data["term"], 10, 64)
	if err != nil || record.Data["incarnation"] == "" {
		return wire.Stamp{}, fmt.Errorf("the hub's record %s/%s is damaged: it must hold an incarnation and a term", namespace, recordName)
	}
	stamp := wire.Stamp{Incarnation: record.Data["incarnation"], Term: term + 1}
	record.Data["term"] = strconv.FormatUint(stamp.Term, 10)
	self.write(record)
	if err := c.Update(ctx, record); err != nil {
		return wire.Stamp{}, fmt.Errorf("take term %d: %w", stamp.Term, err)
	}
	return stamp, nil
}

func firstTerm(ctx context.Context, c client.Client, namespace string, self whereabouts) (wire.Stamp, error) {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	stamp := wire.Stamp{Incarnation: hex.EncodeToString(id), Term: 1}
	record := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: recordName},
		Data:       map[string]string{"incarnation": stamp.Incarnation, "term": "1"},
	}
	self.write(record)
	if err := c.Create(ctx, record); err != nil {
		return wire.Stamp{}, fmt.Errorf("write the hub's first record: %w", err)
	}
	return stamp, nil
}

// theLeader reads where a hub is that leads, by its name.
func theLeader(ctx context.Context, c client.Client, namespace, name string) (whereabouts, error) {
	record := &corev1.ConfigMap{}
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: recordName}, record)
	if client.IgnoreNotFound(err) != nil {
		return whereabouts{}, fmt.Errorf("this hub stands by and cannot read where %s is, which leads: %w", name, err)
	}
	at := whereabouts{Name: record.Data["leader"], Address: record.Data["address"]}
	if at.Name != name || at.Address == "" {
		return whereabouts{}, fmt.Errorf("this hub stands by, and %s, which leads, has not said yet where it is; try again in a moment", name)
	}
	return at, nil
}
