package realnode_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// embedded is a hub with a store of its own, as nobody and on a volume of the
// node: what runs from the image on any machine.
const embedded = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: hub, namespace: ` + namespace + `}
spec:
  selector: {matchLabels: {app: hub}}
  template:
    metadata: {labels: {app: hub}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532}
      containers:
      - name: hub
        image: ` + hubImage + `:next
        args: [hub, --data-dir, /var/lib/atoll, --listen, "0.0.0.0:7443", --agent-listen, "0.0.0.0:7444", --public-address, "hub.example.org:7444"]
        env: [{name: ATOLL_KUBECONFIG, value: /var/lib/atoll/admin.kubeconfig}]
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        readinessProbe: {httpGet: {path: /readyz, port: 7443, scheme: HTTPS}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /var/lib/atoll}]
      volumes:
      - name: data
        hostPath: {path: /var/tmp/hub}
`

// embeds registers a cluster with such a hub, and asks the pod that follows it.
func (b *bed) embeds(t *testing.T) {
	// The node's /var lies in the cluster's directory.
	volume := filepath.Join(filepath.Dir(b.cluster.KubeconfigPath()), "node", "var", "tmp", "hub")
	if err := os.Mkdir(volume, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(volume, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	b.install(embedded)
	first := b.hubAfter("")
	if out, words, err := b.exec("hub-0", "/atoll", "join", "us-east-1", "--owner", "tests", "-o", "bootstrap"); err != nil || !strings.Contains(out, "address: hub.example.org:7444") {
		t.Fatalf("%v: %s%s", err, out, words)
	}
	if err := b.client.CoreV1().Pods(namespace).Delete(t.Context(), "hub-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.hubAfter(first)
	if out, words, err := b.exec("hub-0", "/atoll", "get", "clusters"); err != nil || !strings.Contains(out, "us-east-1") {
		t.Errorf("another pod on the same volume knows: %v: %s%s", err, out, words)
	}
}

// hubAfter waits until another pod than that one is ready.
func (b *bed) hubAfter(former types.UID) types.UID {
	b.t.Helper()
	var uid types.UID
	b.eventually("the hub with a store of its own is ready", func(ctx context.Context) error {
		pod, err := b.pod(ctx, "hub")
		if err == nil && (!ready(pod) || pod.UID == former) {
			err = errors.New(state(pod))
		}
		if err == nil {
			uid = pod.UID
		}
		return err
	})
	return uid
}
