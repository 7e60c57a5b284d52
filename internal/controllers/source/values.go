package source

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/valuesfrom"
)

// values are what the Secrets and ConfigMaps say that an application names.
func (r *Reconciler) values(ctx context.Context, app *v1alpha1.Application) (valuesfrom.Values, error) {
	if app.Spec.Source.Helm == nil {
		return valuesfrom.Values{}, nil
	}
	return valuesfrom.Merge(app.Spec.Source.Helm.ValuesFrom, func(kind, name string) (*valuesfrom.Object, error) {
		key := types.NamespacedName{Namespace: app.Namespace, Name: name}
		var o client.Object
		var data func() map[string][]byte
		if kind == valuesfrom.Secret {
			secret := &corev1.Secret{}
			o, data = secret, func() map[string][]byte { return secret.Data }
		} else {
			plain := &corev1.ConfigMap{}
			o, data = plain, func() map[string][]byte { return texts(plain) }
		}
		switch err := r.Secrets.Get(ctx, key, o); {
		case apierrors.IsNotFound(err):
			return nil, nil
		case err != nil:
			return nil, source.Fail(valuesfrom.Missing, "%s %s cannot be read: %w", kind, key, permitted(err))
		}
		if secret, ok := o.(*corev1.Secret); ok && secret.Type == corev1.SecretTypeServiceAccountToken {
			return nil, source.Fail(valuesfrom.Refused, "Secret %s is the token of a ServiceAccount, which is for nobody else", key)
		}
		return &valuesfrom.Object{Version: fmt.Sprint(o.GetUID(), " ", o.GetResourceVersion()), Data: data()}, nil
	})
}

// permitted tells who gives the hub a right that it lacks, as it may where it runs
// on somebody's cluster.
func permitted(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w: who runs the hub lets it read the project's Secrets, with secretNamespaces of its chart", err)
	}
	return err
}

func texts(plain *corev1.ConfigMap) map[string][]byte {
	all := make(map[string][]byte, len(plain.Data)+len(plain.BinaryData))
	for key, text := range plain.Data {
		all[key] = []byte(text)
	}
	for key, data := range plain.BinaryData {
		all[key] = data
	}
	return all
}

// masked is an error that tells nothing of what Secrets said: a chart may fail with
// any words.
func (o *outcome) masked(err error) error {
	var failure *source.Failure
	var refused *depot.Refused
	switch {
	case err == nil || o.values.Mask(err.Error()) == err.Error():
		return err
	case errors.As(err, &failure):
		return &source.Failure{Reason: failure.Reason, Lasting: failure.Lasting, Err: errors.New(o.values.Mask(failure.Err.Error()))}
	case errors.As(err, &refused):
		return &depot.Refused{Why: refused.Why, Err: errors.New(o.values.Mask(refused.Err.Error()))}
	}
	return errors.New(o.values.Mask(err.Error()))
}
