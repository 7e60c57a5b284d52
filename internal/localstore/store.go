// Package localstore keeps in the member what its agent needs to go on alone:
// whom it obeys, the root it enforces, the contents and sealed values, and the
// inventories of what it applied. It is the apply.Memory of an agent.
//
// Everything is cut into compressed chunks of at most 512 KiB, each an
// immutable Secret named by its digest; a root Secret, written last, lists
// them and is the commit point. It also keeps the list before, so that a chunk
// that is lost or damaged costs a step back and never the whole.
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
}

// list is a commit: the chunks of each piece, in order.
type list map[string][]string

// Store is safe for concurrent use.
type Store struct {
	secrets typed.SecretInterface

	mu      sync.Mutex
	opened  bool
	current list
	backup  list
	present map[string]bool // chunks known to be there
	// inventories are all that were saved, by application.
	inventories map[desired.Key][]byte
	pieces      map[string][]byte // what could be read at the start
	nextSave    time.Time
}

// Open prepares a store in a namespace of the member; nothing is read yet.
func Open(member kubernetes.Interface, namespace string) (*Store, error) {
	if namespace == "" {
		return nil, errors.New("the local store needs a namespace")
	}
	return &Store{secrets: member.CoreV1().Secrets(namespace), present: map[string]bool{}}, nil
}

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
// empty one. A damaged piece falls back to the commit before.
func (s *Store) Load(ctx context.Context) (Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return Snapshot{}, err
	}
	out := Snapshot{Contents: map[desired.Digest][]byte{}, Values: map[string][]byte{}}
	if data := s.pieces[pieceState]; data != nil {
		var st state
		if err := cbor.Unmarshal(data, &st); err != nil {
			return Snapshot{}, fmt.Errorf("read the local store: %w", err)
		}
		out.Seen, out.Root = st.Seen, st.Root
		maps.Copy(out.Values, st.Values)
	}
	for name, data := range s.pieces {
		if d, ok := contentOf(name); ok {
			out.Contents[d] = data
			delete(s.pieces, name)
		}
	}
	return out, nil
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
	data, err := cbor.Marshal(state{Seen: snapshot.Seen, Root: snapshot.Root, Values: snapshot.Values})
	if err != nil {
		return fmt.Errorf("encode the local store: %w", err)
	}
	if next[pieceState], err = s.put(ctx, data); err != nil {
		return err
	}
	for digest, content := range snapshot.Contents {
		name := prefixContent + string(digest)
		if chunks, ok := s.current[name]; ok {
			next[name] = chunks // the name is the digest: it cannot differ
			continue
		}
		if next[name], err = s.put(ctx, content); err != nil {
			return err
		}
	}
	return s.commit(ctx, next)
}

// open reads the root and every piece, once.
func (s *Store) open(ctx context.Context) error {
	if s.opened {
		return nil
	}
	root, err := s.secrets.Get(ctx, rootName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.current, s.backup, s.pieces, s.opened = list{}, list{}, map[string][]byte{}, true
		s.inventories = map[desired.Key][]byte{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the local store: %w", err)
	}
	current, previous := readList(root.Data[keyCurrent]), readList(root.Data[keyPrevious])
	pieces := map[string][]byte{}
	names := maps.Clone(current)
	maps.Copy(names, previous)
	for name := range names {
		chunks := current[name]
		data, err := s.get(ctx, chunks)
		if err != nil && !isLost(err) {
			return err
		}
		if (err != nil || chunks == nil) && current[pieceState] != nil && previous[name] != nil {
			chunks = previous[name]
			if data, err = s.get(ctx, chunks); err != nil && !isLost(err) {
				return err
			}
		}
		if err != nil {
			delete(current, name)
			continue
		}
		pieces[name], current[name] = data, chunks
	}
	s.current, s.backup, s.pieces = current, previous, pieces
	s.inventories = readInventories(pieces)
	s.opened = true
	return nil
}

func readList(data []byte) list {
	l := list{}
	if cbor.Unmarshal(data, &l) != nil {
		return list{} // the other list, or the hub, has to serve
	}
	return l
}

// commit makes next the present list and then drops what nothing refers to.
func (s *Store) commit(ctx context.Context, next list) error {
	if sameList(next, s.current) {
		return nil
	}
	current, err := cbor.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the local store: %w", err)
	}
	previous, err := cbor.Marshal(s.current)
	if err != nil {
		return fmt.Errorf("encode the local store: %w", err)
	}
	root := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: rootName},
		Type:       rootType,
		Data:       map[string][]byte{keyCurrent: current, keyPrevious: previous},
	}
	_, err = s.secrets.Update(ctx, root, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = s.secrets.Create(ctx, root, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("commit to the local store: %w", full(err))
	}
	s.backup, s.current = s.current, next
	return s.sweep(ctx)
}

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
