package git_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/sandbox/gitserver"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/git"
)

// sshKey makes one with ssh's own program, and has git sign with it; it returns
// the public key.
func sshKey(t *testing.T, r *gitserver.Repository, kind string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, args := range [][]string{{"gpg.format", "ssh"}, {"user.signingkey", file}, {"commit.gpgsign", "true"}} {
		run(t, r, append([]string{"config"}, args...)...)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(public))
}

// judged is whose signature the newest commit has, by keys in a Secret.
func judged(t *testing.T, c *git.Cache, s *gitserver.Server, repo string, keys map[string]string) (*v1alpha1.Verified, error) {
	t.Helper()
	o, err := c.Open(v1alpha1.Source{Git: &v1alpha1.GitSource{URL: s.URL(repo)}}, &source.Secret{Name: "demo/repo", Data: map[string][]byte{"ca.crt": s.CA()}})
	if err != nil {
		t.Fatal(err)
	}
	found, err := o.Find(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	held := source.Secret{Name: "demo/keys", Data: map[string][]byte{}}
	for name, text := range keys {
		held.Data[name] = []byte(text)
	}
	return o.Verify(t.Context(), found, held)
}

func TestACommitIsSignedByWhoMaySign(t *testing.T) {
	s := serve(t)
	r, c := create(t, s, "shop"), cache(t, git.DefaultLimits)
	commit(t, r, "not signed", map[string]string{"a.yaml": "one"})
	other := sshKey(t, r, "ed25519")
	_, err := judged(t, c, s, "shop", map[string]string{"allowed_signers": "ada " + other})
	fails(t, err, source.SignatureMissing, "not signed")
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		mine := sshKey(t, r, kind)
		commit(t, r, "signed by "+kind+"\n\nand more\n", map[string]string{"a.yaml": kind})
		told, err := judged(t, c, s, "shop", map[string]string{"allowed_signers": "# those who may\n* " + other + "\nada namespaces=\"git\" " + mine + "\n"})
		if err != nil || told.Key != "allowed_signers" || told.Secret != "keys" {
			t.Errorf("%s: %+v, %v", kind, told, err)
		}
		_, err = judged(t, c, s, "shop", map[string]string{"allowed_signers": "* " + other})
		fails(t, err, source.SignatureInvalid, "not signed with a key in Secret demo/keys")
	}
	for name, keys := range map[string]map[string]string{
		"none":        {},
		"no key":      {"allowed_signers": "ada ssh-ed25519 !"},
		"an option":   {"allowed_signers": "ada cert-authority " + other},
		"no key ring": {"team.asc": "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := judged(t, c, s, "shop", keys)
			fails(t, err, source.KeyMissing, "Secret demo/keys")
		})
	}
}

// A signature is moved to another commit by whoever writes commits.
func TestASignatureOfAnotherCommitDoesNotCount(t *testing.T) {
	s := serve(t)
	r, c := create(t, s, "shop"), cache(t, git.DefaultLimits)
	key := "* " + sshKey(t, r, "ed25519")
	commit(t, r, "signed", map[string]string{"a.yaml": "one"})
	raw := run(t, r, "cat-file", "commit", "HEAD")
	forge := func(raw string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "commit")
		if err := os.WriteFile(file, []byte(raw+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, r, "reset", "--quiet", "--hard", run(t, r, "hash-object", "-t", "commit", "-w", file))
		if _, err := r.Push(); err != nil {
			t.Fatal(err)
		}
	}
	forge(raw) // the very same counts
	if _, err := judged(t, c, s, "shop", map[string]string{"allowed_signers": key}); err != nil {
		t.Fatal(err)
	}
	forge(strings.Replace(raw, "\n\nsigned", "\n\nforged", 1))
	_, err := judged(t, c, s, "shop", map[string]string{"allowed_signers": key})
	fails(t, err, source.SignatureInvalid, "not signed with")
	begin := strings.Index(raw, "gpgsig ")
	end := strings.Index(raw, "\n\n")
	forge(raw[:end] + "\n" + raw[begin:end] + raw[end:]) // twice
	_, err = judged(t, c, s, "shop", map[string]string{"allowed_signers": key})
	fails(t, err, source.SignatureMissing, "")
}

func TestACommitMayBeSignedByOpenPGP(t *testing.T) {
	s := serve(t)
	r, c := create(t, s, "shop"), cache(t, git.DefaultLimits)
	commit(t, r, "unsigned", map[string]string{"a.yaml": "one"})
	raw := run(t, r, "cat-file", "commit", "HEAD") + "\n"
	ring := func() (*openpgp.Entity, string) {
		by, err := openpgp.NewEntity("Ada", "", "ada@example.com", nil)
		if err != nil {
			t.Fatal(err)
		}
		var public bytes.Buffer
		w, err := armor.Encode(&public, openpgp.PublicKeyType, nil)
		if err == nil {
			err = by.Serialize(w)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return by, public.String()
	}
	ada, public := ring()
	_, stranger := ring()
	var signature bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&signature, ada, strings.NewReader(raw), nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "commit")
	head, message, _ := strings.Cut(raw, "\n\n")
	signed := head + "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(signature.String()), "\n", "\n ") + "\n\n" + message
	if err := os.WriteFile(file, []byte(signed), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, r, "reset", "--quiet", "--hard", run(t, r, "hash-object", "-t", "commit", "-w", file))
	if _, err := r.Push(); err != nil {
		t.Fatal(err)
	}
	told, err := judged(t, c, s, "shop", map[string]string{"team.asc": stranger, "zoe.asc": public})
	if err != nil || told.Key != "zoe.asc" || !strings.HasPrefix(told.Fingerprint, "openpgp:") {
		t.Errorf("%+v, %v", told, err)
	}
	_, err = judged(t, c, s, "shop", map[string]string{"team.asc": stranger})
	fails(t, err, source.SignatureInvalid, "Secret demo/keys")
}
