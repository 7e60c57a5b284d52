// Package localstore keeps in the member what its agent needs to go on alone:
// whom it obeys, the root it enforces, the contents and sealed values, and the
// inventories of what it applied. It is the apply.Memory of an agent.
//
// Everything is cut into compressed chunks of at most 512 KiB, each an
// immutable Secret named by its digest; a root Secret, written last, lists
// them and is the commit point. It also keeps what was different in the list
// before, so that a chunk that is lost or damaged costs a step back and never
// the whole.
package localstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/wire"
)

// Names in the member.
const (
	rootName    = "atoll-store"
	chunkPrefix = "atoll-chunk-"
	chunkLabel  = "atoll.dev/chunk"
	rootType    = corev1.SecretType("atoll.dev/store")
	chunkType   = corev1.SecretType("atoll.dev/chunk")
	keyCurrent  = "current"
	keyPrevious = "previous"
	keyData     = "data"
)

// Snapshot is what the hub said, as last obeyed.
type Snapshot struct {
	Seen     wire.Stamp
	Root     desired.Root
	Contents map[desired.Digest][]byte
	// Values are sealed to the agent; the store holds nothing in clear.
	Values map[string][]byte
	// Damaged says what could not be read, if anything: the rest is what was
	// stored before, or what is left. Saving ignores it.
	Damaged []string
}

// list is a commit: the chunks of each piece, in order.
type list map[string][]string

// Store is safe for concurrent use.
type Store struct {
	secrets   typed.SecretInterface
	rest      rest.Interface
	namespace string

	mu      sync.Mutex
	opened  bool
	current list
	backup  list
	present map[string]bool // chunks known to be there
	// inventories are all that were saved, by application.
	inventories map[desired.Key][]byte
	pieces      map[string][]byte // what could be read at the start, until Load
	damaged     []string
	mend        bool // what is stored is not what current says
	nextSave    time.Time
	// version is the root's resourceVersion as last read or written here.
	version string
	confirm func(context.Context) error
}

// Open prepares a store in a namespace of the member; nothing is read yet.
func Open(member kubernetes.Interface, namespace string) (*Store, error) {
	if namespace == "" {
		return nil, errors.New("the local store needs a namespace")
	}
	return &Store{
		secrets: member.CoreV1().Secrets(namespace), rest: member.CoreV1().RESTClient(), namespace: namespace,
		present: map[string]bool{},
	}, nil
}

// Guard has confirm asked when somebody else wrote the root since: only when it
// returns nil is that written over. Without it the last writer wins.
func (s *Store) Guard(confirm func(context.Context) error) { s.confirm = confirm }

// The pieces of a commit.
const (
	pieceState     = "state"
	prefixContent  = "content/"
	prefixInventor = "inventory/"
)

// state is the small piece: whom and what, without the contents.
type state struct {
	Seen   wire.Stamp        `cbor:"1,keyasint"`
	Root   desired.Root      `cbor:"2,keyasint"`
	Values map[string][]byte `cbor:"3,keyasint,omitempty"`
}

// Load returns the last Snapshot that was committed; an empty store gives an
// empty one. Where a chunk is lost the commit before serves, and damage is no
// error: an error means that the member could not be asked. It is called once.
func (s *Store) Load(ctx context.Context) (Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return Snapshot{}, err
	}
	out := Snapshot{Contents: map[desired.Digest][]byte{}, Values: map[string][]byte{}, Damaged: s.damaged}
	if data := s.pieces[pieceState]; data != nil {
		st, err := decodeState(data)
		if err != nil {
			return Snapshot{}, err
		}
		out.Seen, out.Root = st.Seen, st.Root
		maps.Copy(out.Values, st.Values)
	}
	for name, data := range s.pieces {
		if d, ok := contentOf(name); ok {
			out.Contents[d] = data
		}
	}
	s.pieces = nil // the agent has it now
	return out, nil
}

// decodeState sorts the root again: what reads it relies on the order.
func decodeState(data []byte) (state, error) {
	var st state
	err := cbor.Unmarshal(data, &st)
	if err == nil {
		st.Root, err = desired.NewRoot(st.Root.Entries)
	}
	if err != nil {
		return st, fmt.Errorf("read the local store: %w", err)
	}
	return st, nil
}

func contentOf(piece string) (desired.Digest, bool) {
	if len(piece) <= len(prefixContent) || piece[:len(prefixContent)] != prefixContent {
		return "", false
	}
	return desired.Digest(piece[len(prefixContent):]), true
}

// Save commits a Snapshot; on an error the one before stays whole.
func (s *Store) Save(ctx context.Context, snapshot Snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	next := list{}
	for name, chunks := range s.current {
		if _, isContent := contentOf(name); !isContent && name != pieceState {
			next[name] = chunks
		}
	}
	data, err := canonical.Marshal(state{Seen: snapshot.Seen, Root: snapshot.Root, Values: snapshot.Values})
	if err != nil {
		return fmt.Errorf("encode the local store: %w", err)
	}
	if next[pieceState], err = s.put(ctx, data); err != nil {
		return err
	}
	for digest, content := range snapshot.Contents {
		name := prefixContent + string(digest)
		if chunks, ok := s.current[name]; ok && s.all(chunks) {
			next[name] = chunks // the name is the digest: it cannot differ
			continue
		}
		if next[name], err = s.put(ctx, content); err != nil {
			return err
		}
	}
	for name := range s.bucketsLost() {
		if next[name], err = s.putBucket(ctx, name, s.inventories); err != nil {
			return err
		}
	}
	return s.commit(ctx, next)
}

// commit makes next the present list and then drops what nothing refers to.
func (s *Store) commit(ctx context.Context, next list) error {
	if sameList(next, s.current) && !s.mend {
		return nil
	}
	current, err := canonical.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the local store: %w", err)
	}
	// Of the list before, what the present one has as well would be said twice.
	before := maps.Clone(s.current)
	maps.DeleteFunc(before, func(piece string, chunks []string) bool { return slices.Equal(next[piece], chunks) })
	previous, err := canonical.Marshal(before)
	if err != nil {
		return fmt.Errorf("encode the local store: %w", err)
	}
	root := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: rootName},
		Type:       rootType,
		Data:       map[string][]byte{keyCurrent: current, keyPrevious: previous},
	}
	if err := s.writeRoot(ctx, root); err != nil {
		return fmt.Errorf("commit to the local store: %w", full(err))
	}
	s.backup, s.current, s.mend = before, next, false
	s.sweep(ctx)
	return nil
}

// writeRoot is the commit. The version last seen goes with it, so that an agent
// that was halted while another took over does not undo what that one stored.
func (s *Store) writeRoot(ctx context.Context, root *corev1.Secret) error {
	root.ResourceVersion = s.version
	written, err := s.secrets.Update(ctx, root, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		if s.confirm != nil {
			if err := s.confirm(ctx); err != nil {
				return err
			}
		}
		root.ResourceVersion = ""
		written, err = s.secrets.Update(ctx, root, metav1.UpdateOptions{})
	}
	if apierrors.IsNotFound(err) {
		root.ResourceVersion = ""
		written, err = s.secrets.Create(ctx, root, metav1.CreateOptions{})
	}
	if err == nil {
		s.version = written.ResourceVersion
	}
	return err
}

// canonical gives equal values equal bytes, so that what did not change is not
// written.
var canonical = func() cbor.EncMode {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

func sameList(a, b list) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}

// full says in words what a member means that takes no more.
func full(err error) error {
	if apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsForbidden(err) || apierrors.IsInternalError(err) {
		return fmt.Errorf("the member does not take it (its store may be full, or a quota reached): %w", err)
	}
	return err
}
