package signin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// Sessions is the folder of a person's sessions, closed to others. Any number of
// programs may use it at once.
type Sessions string

// DefaultSessions is below the home directory.
func DefaultSessions() (Sessions, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home directory, where sessions are kept: %w", err)
	}
	return Sessions(filepath.Join(home, ".atoll", "sessions")), nil
}

// sessionID names a file, so nothing else is taken for one.
var sessionID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// NewID names a session that is not there yet.
func NewID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// ErrNoSession is the error for a session that ended or never was.
var ErrNoSession = errors.New("nobody is signed in by it")

func (d Sessions) file(id string) (string, error) {
	if !sessionID.MatchString(id) {
		return "", fmt.Errorf("%q names no session", id)
	}
	return filepath.Join(string(d), id+".json"), nil
}

// hold keeps other programs from one session until done is called. The lock is
// the kernel's, so that a killed program leaves none.
func (d Sessions) hold(ctx context.Context, id string) (done func(), err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of sessions: %w", err)
	}
	file, err := d.file(id)
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the session: %w", err)
	}
	// A retry instead of a wait in the kernel: that would not hear of Ctrl-C.
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { lock.Close() }, nil //nolint:errcheck // Nothing was written.
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			lock.Close() //nolint:errcheck // The first error says why.
			return nil, fmt.Errorf("lock the session: %w", err)
		}
		select {
		case <-ctx.Done():
			lock.Close() //nolint:errcheck // The end of ctx says why.
			return nil, fmt.Errorf("wait for another program that renews the session: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Load reads a session; ErrNoSession when there is none.
func (d Sessions) Load(id string) (*Session, error) {
	file, err := d.file(id)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoSession
	}
	if err != nil {
		return nil, fmt.Errorf("read the session: %w", err)
	}
	s := &Session{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read the session %s: %w; sign in again", file, err)
	}
	return s, nil
}

// Save keeps a session whole or not at all.
func (d Sessions) Save(id string, s *Session) error {
	file, err := d.file(id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("make the folder of sessions: %w", err)
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the session: %w", err)
	}
	return replaceFile(file, data)
}

// End forgets a session here, whatever the provider says, and revokes it there.
// The error is the provider's.
func (d Sessions) End(ctx context.Context, id string) error {
	done, err := d.hold(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	s, err := d.Load(id)
	if errors.Is(err, ErrNoSession) {
		return nil
	}
	// The lock stays: who waits for it must not meet one who made another.
	file, _ := d.file(id) // hold took it
	if removed := os.Remove(file); removed != nil {
		return fmt.Errorf("remove the session: %w", removed)
	}
	if err != nil {
		return nil // it was unreadable, and is gone
	}
	return s.Revoke(ctx)
}

// replaceFile writes a file of mode 0600 whole or not at all.
func replaceFile(file string, data []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", file, err), os.Remove(temp.Name()))
		}
	}()
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), file)
}
