package git

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// Of signatures by ssh, by OpenSSH's PROTOCOL.sshsig.
const (
	allowedSigners = "allowed_signers"
	sshBegin       = "-----BEGIN SSH SIGNATURE-----"
	sshEnd         = "-----END SSH SIGNATURE-----"
	sshMagic       = "SSHSIG"
	sshNamespace   = "git"
)

type sshSigner struct{ key ssh.PublicKey }

// parseSigners reads a file as ssh-keygen's allowed_signers: principals, options
// and a key. Whose name it is does not matter here; an option might, so that
// only the one that git's own needs is taken.
func parseSigners(data []byte) ([]sshSigner, error) {
	var all []sshSigner
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		_, rest, ok := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
		switch {
		case !ok || err != nil:
			return nil, fmt.Errorf("line %d is not PRINCIPALS KEYTYPE KEY", n+1)
		case len(options) > 0 && (len(options) != 1 || options[0] != `namespaces="git"`):
			return nil, fmt.Errorf("line %d has options beside namespaces=\"git\", which are not read", n+1)
		}
		all = append(all, sshSigner{key})
	}
	return all, nil
}

// sshSignature is what lies within the armor.
type sshSignature struct {
	Version                   uint32
	PublicKey                 []byte
	Namespace, Reserved, Hash string
	Signature                 []byte
}

// judgeSSH is the fingerprint of the key that signed, "" for none of those.
func judgeSSH(of signed, trusted []sshSigner) string {
	body, ok := strings.CutPrefix(of.signature, sshBegin)
	body, _, closed := strings.Cut(body, sshEnd)
	blob, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
	rest, magic := bytes.CutPrefix(blob, []byte(sshMagic))
	var s sshSignature
	if !ok || !closed || err != nil || !magic || ssh.Unmarshal(rest, &s) != nil || s.Version != 1 || s.Namespace != sshNamespace {
		return ""
	}
	var sum []byte
	switch s.Hash {
	case "sha256":
		h := sha256.Sum256(of.text)
		sum = h[:]
	case "sha512":
		h := sha512.Sum512(of.text)
		sum = h[:]
	default:
		return ""
	}
	signature := &ssh.Signature{}
	if ssh.Unmarshal(s.Signature, signature) != nil || signature.Format == ssh.KeyAlgoRSA { // with SHA-1
		return ""
	}
	message := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{s.Namespace, s.Reserved, s.Hash, sum})...)
	for _, t := range trusted {
		if bytes.Equal(t.key.Marshal(), s.PublicKey) && t.key.Verify(message, signature) == nil {
			return "sha256:" + hexSum(s.PublicKey)
		}
	}
	return ""
}

// fingerprint is OpenPGP's.
func fingerprint(by *openpgp.Entity) string {
	return "openpgp:" + hex.EncodeToString(by.PrimaryKey.Fingerprint)
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
