package git

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
)

// signed is a commit's signature, and the text that it is of.
type signed struct {
	text      []byte
	signature string // armored, "" for a commit without one
}

// maxSigned is what a commit and its signature may have to be judged, in bytes.
const maxSigned = 256 << 10

// signedCommit reads the commit as it lies in the repository: what another
// encoder makes of it may differ by a byte.
func signedCommit(s *filesystem.Storage, c *object.Commit) (signed, error) {
	o, err := s.EncodedObject(plumbing.CommitObject, c.Hash)
	if err != nil || o.Size() > maxSigned {
		return signed{}, err
	}
	in, err := o.Reader()
	if err != nil {
		return signed{}, err
	}
	defer in.Close()
	raw, err := io.ReadAll(in)
	if err != nil {
		return signed{}, err
	}
	return takeOut(raw), nil
}

// signatureHeader begins the header that holds a signature; its lines but the
// first begin with a space.
const signatureHeader = "gpgsig "

// takeOut parts a commit from its signature. One with several is one without.
func takeOut(raw []byte) signed {
	head, message, _ := bytes.Cut(raw, []byte("\n\n"))
	var text, signature []byte
	var count int
	within := false
	for line := range bytes.Lines(append(slices.Clip(head), '\n')) {
		switch rest, begins := bytes.CutPrefix(line, []byte(signatureHeader)); {
		case begins:
			count, within = count+1, true
			signature = append(signature, rest...)
		case within && line[0] == ' ':
			signature = append(signature, line[1:]...)
		default:
			within = false
			text = append(text, line...)
		}
	}
	if count != 1 {
		return signed{}
	}
	return signed{text: append(append(text, '\n'), message...), signature: string(signature)}
}

// Verify is source.Origin's: the signature of a commit, not that of a tag, by
// ssh or OpenPGP.
func (o *origin) Verify(ctx context.Context, f source.Found, keys source.Secret) (*v1alpha1.Verified, error) {
	trusted, err := readSigners(keys)
	if err != nil {
		return nil, err
	}
	of, err := o.cache.signed(ctx, o.access, bare(f.ID))
	if err != nil {
		return nil, err
	}
	if of.signature == "" {
		return nil, source.Fail(source.SignatureMissing, "commit %s of %s is not signed; sign commits, with: git config commit.gpgsign true", source.ShortID(f.ID), o)
	}
	told := trusted.judge(of, o.cache.now)
	if told == nil {
		return nil, source.Fail(source.SignatureInvalid, "commit %s of %s is not signed with a key in Secret %s", source.ShortID(f.ID), o, keys.Name)
	}
	return told, nil
}

// signed is the signature of a commit, which is fetched for it.
func (c *Cache) signed(ctx context.Context, a Access, id string) (signed, error) {
	r := c.repo(a)
	defer c.trim()
	defer c.leave(r)
	if err := r.fetching.Lock(ctx); err != nil {
		return signed{}, err
	}
	defer r.fetching.Unlock()
	t, err := c.tree(ctx, a, r, id)
	if err != nil {
		return signed{}, err
	}
	return t.signed, nil
}

// signers are those who may sign commits.
type signers struct {
	secret string
	ssh    []sshSigner
	rings  []ring
}

// ring are the public keys of OpenPGP in one entry of the Secret.
type ring struct {
	name string
	keys openpgp.EntityList
}

// maxSigners is how many bytes of keys a Secret may have.
const maxSigners = 256 << 10

// readSigners takes keys out of a Secret: of ssh in allowed_signers, as git has
// them, of OpenPGP in what ends in ".asc".
func readSigners(s source.Secret) (signers, error) {
	_, plain, _ := strings.Cut(s.Name, "/")
	all := signers{secret: plain}
	for _, name := range slices.Sorted(maps.Keys(s.Data)) {
		data := s.Data[name]
		var err error
		switch {
		case name != allowedSigners && !strings.HasSuffix(name, ".asc"):
		case len(data) > maxSigners:
			err = errors.New("it is too large")
		case name == allowedSigners:
			all.ssh, err = parseSigners(data)
		default:
			var keys openpgp.EntityList
			keys, err = openpgp.ReadArmoredKeyRing(bytes.NewReader(data))
			all.rings = append(all.rings, ring{name, keys})
		}
		if err != nil {
			return all, source.Fail(source.KeyMissing, "%s in Secret %s cannot be read: %w", name, s.Name, err)
		}
	}
	if len(all.ssh)+len(all.rings) == 0 {
		return all, source.Fail(source.KeyMissing, "Secret %s has no keys of who may sign: put those of ssh into %s, and public keys of OpenPGP into what ends in .asc", s.Name, allowedSigners)
	}
	return all, nil
}

// judge says who signed; nil is nobody whom it knows.
func (all signers) judge(of signed, now func() time.Time) *v1alpha1.Verified {
	if strings.HasPrefix(of.signature, sshBegin) {
		if key := judgeSSH(of, all.ssh); key != "" {
			return &v1alpha1.Verified{Secret: all.secret, Key: allowedSigners, Fingerprint: key}
		}
		return nil
	}
	for _, r := range all.rings {
		by, err := openpgp.CheckArmoredDetachedSignature(r.keys, bytes.NewReader(of.text), strings.NewReader(of.signature), &packet.Config{Time: now})
		if err == nil {
			return &v1alpha1.Verified{Secret: all.secret, Key: r.name, Fingerprint: fingerprint(by)}
		}
	}
	return nil
}
