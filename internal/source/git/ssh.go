package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// shell is git-upload-pack at the other end of ssh: one conversation.
type shell struct {
	remote  source.Remote
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	said    *tail
	ended   func() bool
}

// openShell ends with ctx.
func openShell(ctx context.Context, a Access, dial web.Dialer) (*shell, error) {
	if a.Credentials == nil {
		return nil, source.Fail(source.CredentialMissing, "%s needs a key: name a Secret with identity and known_hosts in secretRef", a.Remote)
	}
	config, err := a.Credentials.config(a.Remote)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(a.Remote.Host, a.Remote.Port)
	conn, err := dial.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, web.Unreached(a.Remote, err)
	}
	s := &shell{remote: a.Remote, said: &tail{}}
	s.ended = context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		s.ended()
		_ = conn.Close() // it has failed already
		return nil, s.refused(err)
	}
	s.client = ssh.NewClient(c, channels, requests)
	if err := s.begin(); err != nil {
		_ = s.Close()
		return nil, web.Unreached(a.Remote, err)
	}
	return s, nil
}

func (s *shell) begin() error {
	session, err := s.client.NewSession()
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	s.session, session.Stderr = session, s.said
	out, err := session.StdoutPipe()
	if err != nil {
		return err
	}
	s.out = out
	if s.in, err = session.StdinPipe(); err != nil {
		return err
	}
	// ParseRemote has refused what a shell would not take as it stands.
	return session.Start(service + " '" + s.remote.Path + "'")
}

// config trusts those keys of the host only that known_hosts has.
func (c *Credentials) config(r source.Remote) (*ssh.ClientConfig, error) {
	check, err := c.hosts()
	if err != nil {
		return nil, source.Fail(source.HostKeyUnknown, "known_hosts of the Secret cannot be read: %w", err)
	}
	config := &ssh.ClientConfig{
		User: r.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(c.signer)}, HostKeyCallback: check, Timeout: 10 * time.Second,
	}
	config.HostKeyAlgorithms, err = algorithms(check, net.JoinHostPort(r.Host, r.Port), c.signer.PublicKey())
	if err != nil {
		return nil, source.Fail(source.HostKeyUnknown, "known_hosts of the Secret has no key of %s", knownhosts.Normalize(net.JoinHostPort(r.Host, r.Port)))
	}
	return config, nil
}

// hosts reads known_hosts by way of a file, for the library knows no other.
func (c *Credentials) hosts() (ssh.HostKeyCallback, error) {
	f, err := os.CreateTemp("", "known_hosts")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(c.knownHosts); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	check, err := knownhosts.New(f.Name())
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), f.Name(), "known_hosts"))
	}
	return check, nil
}

// algorithms are those of the keys that are known of a host: it may have more,
// and would offer the first. They are what the check names when it is shown a
// key that cannot be right.
func algorithms(check ssh.HostKeyCallback, address string, wrong ssh.PublicKey) ([]string, error) {
	var mismatch *knownhosts.KeyError
	if err := check(address, &net.TCPAddr{}, wrong); !errors.As(err, &mismatch) || len(mismatch.Want) == 0 {
		return nil, errors.New("no key is known")
	}
	var names []string
	for _, known := range mismatch.Want {
		if name := known.Key.Type(); name == ssh.KeyAlgoRSA {
			names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (s *shell) refused(err error) error {
	var key *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &key), errors.As(err, &revoked), strings.Contains(err.Error(), "no common algorithm for host key"):
		return source.Fail(source.HostKeyUnknown, "%s shows a host key that known_hosts of the Secret does not have for it; if its key was changed, put the new one there", s.remote)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return source.Fail(source.CredentialRefused, "%s refuses the key of the Secret for user %s", s.remote, s.remote.User)
	}
	return web.Unreached(s.remote, err)
}

func (s *shell) advertised(context.Context) (io.Reader, error) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(s.out, first); err != nil {
		_ = s.session.Wait() // so that all it said has arrived
		return nil, s.silent(err)
	}
	return io.MultiReader(bytes.NewReader(first), s.out), nil
}

// silent is for a server that ended without Git's protocol: what it said goes
// to people, and there is no better word for it.
func (s *shell) silent(err error) error {
	words := strings.ToLower(s.said.text())
	for _, absent := range []string{"not found", "does not exist", "not appear to be a git repository", "could not be found", "no such"} {
		if strings.Contains(words, absent) {
			return source.Fail(source.RepositoryNotFound, "%s is not there, or not for this key: %s", s.remote, source.Line(s.said.text()))
		}
	}
	if words != "" {
		return source.Fail(source.NoRepository, "%s: %s", s.remote, source.Line(s.said.text()))
	}
	return web.Unreached(s.remote, err)
}

func (s *shell) upload(_ context.Context, request []byte) (io.Reader, error) {
	if _, err := s.in.Write(request); err != nil {
		return nil, web.Unreached(s.remote, err)
	}
	return s.out, nil
}

// Close ends the conversation; the server may be in the midst of it.
func (s *shell) Close() error {
	s.ended()
	_ = s.client.Close() // its end may have come first
	return nil
}

// tail keeps the beginning of what a server says beside the protocol.
type tail struct{ ch bytes.Buffer }

const maxWords = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	if room := maxWords - t.ch.Len(); room > 0 {
		t.ch.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (t *tail) text() string { return t.ch.String() }
