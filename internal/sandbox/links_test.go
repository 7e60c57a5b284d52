package sandbox_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Every test package that imports this one links what it links.
func TestNoServerCodeIsLinked(t *testing.T) {
	for _, pkg := range []string{".", "./command"} {
		output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dependency := range strings.Fields(string(output)) {
			for _, server := range []string{"k8s.io/kubernetes/", "k8s.io/apiserver/", "go.etcd.io/", "sigs.k8s.io/kwok/"} {
				if strings.HasPrefix(dependency, server) {
					t.Errorf("package %s links %s", pkg, dependency)
				}
			}
		}
	}
}
