package cli_test

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"atoll.dev/atoll/internal/testfleet"
)

// TestMember is what only a delivery to a real cluster shows.
func TestMember(t *testing.T) {
	fleet := testfleet.Start(t, testfleet.Options{Clusters: []testfleet.Cluster{testfleet.Named("member")}})
	runScripts(t, "testdata/member", func(env *testscript.Env) error {
		env.Setenv("ATOLL_KUBECONFIG", fleet.Hub.Kubeconfig())
		env.Setenv("MEMBER", fleet.Member("member").Sandbox.KubeconfigPath())
		return nil
	})
}
