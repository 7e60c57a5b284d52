package apiserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// dataDir names the files below Options.DataDir.
type dataDir string

func (d dataDir) path(elements ...string) string {
	return filepath.Join(append([]string{string(d)}, elements...)...)
}

func (d dataDir) pki(name string) string     { return d.path("pki", name) }
func (d dataDir) adminKubeconfig() string    { return d.path("admin.kubeconfig") }
func (d dataDir) authenticationFile() string { return d.path("authentication.yaml") }

// servingLifetime and adminLifetime are renewed when less than renewBefore is left.
const (
	servingLifetime = 365 * 24 * time.Hour
	adminLifetime   = 365 * 24 * time.Hour
	renewBefore     = 30 * 24 * time.Hour
)

// lock takes the directory for this process. The lock lives in the kernel, so
// a killed hub leaves none behind.
func (d dataDir) lock() (*os.File, error) {
	for _, dir := range []string{d.path(), d.path("pki")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the data directory: %w", err)
		}
	}
	if err := os.Chmod(d.path("pki"), 0o700); err != nil {
		return nil, fmt.Errorf("close the key directory to others: %w", err)
	}
	file, err := os.OpenFile(d.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of %s: %w", d, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(file.Name())
		file.Close() //nolint:errcheck // Nothing was written.
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use by another hub (process %s); stop it, or choose another directory",
				d, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock %s: %w", d, err)
	}
	err = errors.Join(file.Truncate(0), writeAtStart(file, fmt.Sprintln(os.Getpid())))
	if err != nil {
		file.Close() //nolint:errcheck // The first error says why.
		return nil, fmt.Errorf("write the lock of %s: %w", d, err)
	}
	return file, nil
}

// Free tells whether no hub uses a data directory, as one that is to start would be
// told: for what opens files there before it does.
func Free(dir string) error {
	lock, err := dataDir(dir).lock()
	if err != nil {
		return err
	}
	return lock.Close()
}

func writeAtStart(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

// ensureServingPair keeps the API's serving certificate good for hosts.
func (d dataDir) ensureServingPair(authority *pki.Authority, hosts []string) error {
	leaf := pki.Leaf{CommonName: "atoll-hub", Hosts: hosts, Lifetime: servingLifetime}
	_, err := authority.EnsureLeaf(d.pki("apiserver.crt"), d.pki("apiserver.key"), leaf, renewBefore)
	return err
}

// renewServingPair is for a server that runs: it reloads the files by itself,
// and a certificate that could not be renewed is good for a month yet.
func (d dataDir) renewServingPair(authority *pki.Authority, hosts []string) {
	if err := d.ensureServingPair(authority, hosts); err != nil {
		klog.ErrorS(err, "renew the serving certificate")
	}
}

// ensureFiles keeps what the API serves with: made from the keys, made again
// when it is lost.
func (d dataDir) ensureFiles(authority *pki.Authority, hosts []string, signIn *SignIn) error {
	return errors.Join(
		d.ensureServingPair(authority, hosts),
		signIn.take(d),
	)
}
