package standin_test

import (
	"testing"

	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/internal/sandbox/standin"
)

// TestAMemberThatReturnsSaysThatItIsReady: an agent waits for that word after
// every outage, and would wait for ever.
func TestAMemberThatReturnsSaysThatItIsReady(t *testing.T) {
	m := standin.New(standin.Options{Name: "one", UID: "of-one", Version: "v1.36.3"})
	t.Cleanup(m.Close)
	client, err := kubernetes.NewForConfig(m.Config())
	if err != nil {
		t.Fatal(err)
	}
	ready := func() (string, error) {
		body, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context())
		return string(body), err
	}
	m.SetDown(true)
	if _, err := ready(); err == nil {
		t.Error("a member that is down says that it is ready")
	}
	m.SetDown(false)
	if body, err := ready(); err != nil || body != "ok" {
		t.Errorf("a member that is back says %q, %v", body, err)
	}
}
