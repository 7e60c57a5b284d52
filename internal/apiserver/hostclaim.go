package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hostKeys is the ConfigMap that says which keys a host cluster's hub has.
const hostKeys = "atoll-hub-keys"

// claim makes the hub's namespace, refuses a host on which a hub with other
// keys has begun, and else records ours.
func (h *Host) claim(ctx context.Context, keys keysDir) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if err := h.checkAlone(ctx); err != nil {
		return err
	}
	if err := h.ensureNamespace(ctx); err != nil {
		return err
	}
	if h.cluster.inside() {
		if err := h.markPod(ctx, h.kube, false); err != nil {
			return err
		}
	}
	prints, err := keys.fingerprints(h.authority)
	if err != nil {
		return err
	}
	maps.Copy(prints, h.options.Fingerprints)
	for {
		if done, err := h.claimOnce(ctx, prints); err != nil || done {
			return err
		}
	}
}

// ensureNamespace asks first: the account of a pod may be unable to make one.
func (h *Host) ensureNamespace(ctx context.Context) error {
	name := h.cluster.Namespace
	_, err := h.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = h.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{FieldManager: fieldManager})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make the hub's namespace %s in the cluster at %s: %w", name, h.config.Host, err)
	}
	return nil
}

// claimOnce is not done when another hub wrote the record meanwhile.
func (h *Host) claimOnce(ctx context.Context, prints Fingerprints) (done bool, err error) {
	records := h.kube.CoreV1().ConfigMaps(h.cluster.Namespace)
	record, err := records.Get(ctx, hostKeys, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("read which keys the store was begun with: %w", err)
	}
	isNew := err != nil
	if isNew {
		record = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.cluster.Namespace, Name: hostKeys}}
	} else {
		var recorded Fingerprints
		if err := json.Unmarshal([]byte(record.Data["fingerprints"]), &recorded); err != nil {
			return false, fmt.Errorf("read which keys the store was begun with: ConfigMap %s/%s is damaged: %w", h.cluster.Namespace, hostKeys, err)
		}
		if names := prints.differ(recorded); len(names) > 0 {
			return false, foreignStore(names)
		}
	}
	data, err := json.Marshal(prints)
	if err != nil {
		return false, fmt.Errorf("encode the fingerprints of the keys: %w", err)
	}
	if record.Data["fingerprints"] == string(data) {
		return true, nil
	}
	record.Data = map[string]string{"fingerprints": string(data)}
	if isNew {
		_, err = records.Create(ctx, record, metav1.CreateOptions{FieldManager: fieldManager})
	} else {
		_, err = records.Update(ctx, record, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("record the fingerprints of the keys: %w", err)
	}
	return true, nil
}

// admissionPath is known to the host's administrators and to nobody else:
// reviews come without a name, and an answer tells what people may do.
func (d keysDir) admissionPath() (string, error) {
	key, err := os.ReadFile(d.serviceAccountsFile())
	if err != nil {
		return "", fmt.Errorf("read the keys of service accounts: %w", err)
	}
	return "/admission/" + Fingerprint(append([]byte("admission\x00"), key...)), nil
}
