package apply

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// established waits until a definition is served, for its objects come next.
func (e *Engine) established(ctx context.Context, t target) error {
	const patience = 15 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for tries := 0; ; tries++ {
		crd, err := e.clients.get(ctx, t)
		if err == nil && isEstablished(crd) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to be established: %w", t.id, ctx.Err())
		case <-time.After(backoff(tries, 20*time.Millisecond, time.Second)):
		}
	}
}

func isEstablished(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		if m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}

// groupOfDefinition reads the group from "plural.group".
func groupOfDefinition(name string) string {
	_, group, _ := strings.Cut(name, ".")
	return group
}

// definitionChanged drops what was known of a definition's group.
func (e *Engine) definitionChanged(o *object) { e.kinds.Forget(groupOfDefinition(o.id.Name)) }
