package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

const asIfInAnImage = "ATOLL_TEST_WITHOUT_ROOTS"

// A registry of content with a public certificate must be reachable from an image
// that holds nothing but this program.
func TestPublicRootsAreThereWhereTheMachineHasNone(t *testing.T) {
	if os.Getenv(asIfInAnImage) == "" {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		nowhere := t.TempDir()
		again.Env = append(os.Environ(), asIfInAnImage+"=1", "SSL_CERT_FILE="+nowhere+"/none.pem", "SSL_CERT_DIR="+nowhere)
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if roots.Equal(x509.NewCertPool()) {
		t.Error("nothing is trusted")
	}
}
