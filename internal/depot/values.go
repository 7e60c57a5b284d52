package depot

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/wire"
)

// valuesType marks the Secrets that hold the values of a content. The API
// server encrypts them with a key that lies outside the store.
const valuesType corev1.SecretType = "atoll.dev/values"

// maxValues is how many bytes of values one Secret takes; Kubernetes allows 1 MiB.
const maxValues = 512 << 10

func valuesName(project string, digest desired.Digest, part int) string {
	return fmt.Sprintf("values.%s.%s.%d", project, digest.Short(), part)
}

// saveValues writes values in Secrets that never change: a Secret that is
// there already holds the same, for the digest covers the references.
func (d *Depot) saveValues(ctx context.Context, project string, digest desired.Digest, values []content.SecretValue) error {
	for part, chunk := range split(values) {
		immutable := true
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: d.namespace,
				Name:      valuesName(project, digest, part),
				Labels:    map[string]string{"atoll.dev/project": project},
			},
			Type:      valuesType,
			Immutable: &immutable,
			Data:      chunk,
		}
		if err := d.client.Create(ctx, s); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("store the secret values of project %s: %w", project, err)
		}
	}
	return nil
}

func split(values []content.SecretValue) []map[string][]byte {
	var parts []map[string][]byte
	size := maxValues + 1
	for _, v := range values {
		if size+len(v.Value) > maxValues {
			parts, size = append(parts, map[string][]byte{}), 0
		}
		parts[len(parts)-1][dataKey(v.Ref)] = v.Value
		size += len(v.Value)
	}
	return parts
}

// dataKey is a reference as a Secret's key: ":" is not allowed there.
func dataKey(ref string) string { return strings.ReplaceAll(ref, ":", ".") }

// Sealed are the values that the content refers to, sealed to the cluster.
func (d *Depot) Sealed(ctx context.Context, project, cluster string, digest desired.Digest) ([]wire.SealedValue, error) {
	refs, err := d.refsOf(ctx, project, digest)
	if err != nil || len(refs) == 0 {
		return nil, err
	}
	values, err := d.values(ctx, project, digest, len(refs))
	if err != nil {
		return nil, err
	}
	c := &v1alpha1.Cluster{}
	if err := d.client.Get(ctx, types.NamespacedName{Name: cluster}, c); err != nil {
		return nil, fmt.Errorf("read cluster %s: %w", cluster, err)
	}
	if c.Status.Identity == nil {
		return nil, fmt.Errorf("cluster %s has not enrolled a key to seal to", cluster)
	}
	sealed := make([]wire.SealedValue, 0, len(refs))
	for _, ref := range refs {
		value, ok := values[dataKey(ref)]
		if !ok {
			return nil, fmt.Errorf("a secret value of content %s is not stored; upload the content again", digest.Short())
		}
		data, err := seal.Seal(c.Status.Identity.SealingKey, seal.Info{Cluster: cluster, Ref: ref}, value)
		if err != nil {
			return nil, fmt.Errorf("seal a secret value to cluster %s: %w", cluster, err)
		}
		sealed = append(sealed, wire.SealedValue{Ref: ref, Sealed: data})
	}
	return sealed, nil
}

func (d *Depot) values(ctx context.Context, project string, digest desired.Digest, want int) (map[string][]byte, error) {
	values := map[string][]byte{}
	for part := 0; len(values) < want; part++ {
		s := &corev1.Secret{}
		name := types.NamespacedName{Namespace: d.namespace, Name: valuesName(project, digest, part)}
		if err := d.client.Get(ctx, name, s); err != nil {
			if apierrors.IsNotFound(err) {
				break
			}
			return nil, fmt.Errorf("read the secret values of content %s: %w", digest.Short(), err)
		}
		for k, v := range s.Data {
			values[k] = v
		}
	}
	return values, nil
}
