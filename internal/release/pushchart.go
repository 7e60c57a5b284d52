package release

import (
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"helm.sh/helm/v4/pkg/registry"
)

// pushChart returns the reference by digest. A registry on this machine is
// spoken to without TLS, as it is for images.
func pushChart(data []byte, ref string) (string, error) {
	tag, err := name.NewTag(ref)
	if err != nil {
		return "", fmt.Errorf("push chart to %s: %w", ref, err)
	}
	options := []registry.ClientOption{registry.ClientOptEnableCache(true)}
	if tag.Registry.Scheme() == "http" {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	client, err := registry.NewClient(options...)
	if err != nil {
		return "", fmt.Errorf("push chart to %s: %w", ref, err)
	}
	epoch := time.Unix(0, 0).UTC().Format(time.RFC3339)
	pushed, err := client.Push(data, ref, registry.PushOptCreationTime(epoch))
	if err != nil {
		return "", fmt.Errorf("push chart to %s: %w", ref, err)
	}
	return tag.Context().Digest(pushed.Manifest.Digest).String(), nil
}
