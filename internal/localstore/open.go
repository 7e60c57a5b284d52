package localstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/desired"
)

// open reads the root and every piece, once; s.mu is held.
func (s *Store) open(ctx context.Context) error {
	if s.opened {
		return nil
	}
	root, err := s.secrets.Get(ctx, rootName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.current, s.backup, s.pieces = list{}, list{}, map[string][]byte{}
		s.inventories, s.opened = map[desired.Key][]byte{}, true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the local store: %w", err)
	}
	s.version = root.ResourceVersion
	r := reading{store: s, current: readList(root.Data[keyCurrent]), previous: readList(root.Data[keyPrevious])}
	if err := r.run(ctx); err != nil {
		return err
	}
	slices.Sort(r.damaged)
	s.current, s.backup, s.pieces, s.damaged = r.kept, r.previous, r.pieces, r.damaged
	s.inventories = readInventories(r.pieces)
	s.mend, s.opened = len(r.damaged) > 0, true
	return nil
}

func readList(data []byte) list {
	l := list{}
	if cbor.Unmarshal(data, &l) != nil {
		return list{} // the other list, or the hub, has to serve
	}
	return l
}

// reading is one attempt to read everything that the two lists name.
type reading struct {
	store             *Store
	current, previous list

	kept    list // what the pieces were read from
	pieces  map[string][]byte
	damaged []string
}

// run takes the present list. Only where it fails does the one before serve:
// a piece that the present list left out on purpose stays out, unless the
// state itself had to come from before, for then it may be needed again.
func (r *reading) run(ctx context.Context) error {
	r.kept, r.pieces = list{}, map[string][]byte{}
	stepped, err := r.take(ctx, pieceState)
	if err != nil {
		return err
	}
	names := maps.Clone(r.current)
	if stepped {
		maps.Copy(names, r.previous)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if name == pieceState {
			continue
		}
		if _, err := r.take(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// take reads a piece and tells whether it had to step back for it.
func (r *reading) take(ctx context.Context, name string) (steppedBack bool, err error) {
	for i, l := range []list{r.current, r.previous} {
		chunks, ok := l[name]
		if !ok {
			continue
		}
		data, err := r.store.get(ctx, chunks)
		if err == nil && !readable(name, data) {
			err = &errLost{strings.Join(chunks, ", "), "not what it should be"}
		}
		switch {
		case err == nil:
			r.pieces[name], r.kept[name] = data, chunks
			return i == 1, nil
		case !isLost(err):
			return false, err
		}
		steppedBack = true
		r.damaged = append(r.damaged, fmt.Sprintf("%s: %v", name, err))
	}
	return steppedBack, nil
}

// readable holds a piece against what its name promises.
func readable(name string, data []byte) bool {
	if d, ok := contentOf(name); ok {
		return desired.Sum(data) == d
	}
	if name == pieceState {
		_, err := decodeState(data)
		return err == nil
	}
	var b bucket
	return cbor.Unmarshal(data, &b) == nil && len(b.Keys) == len(b.Data)
}

// get reads the chunks of a piece.
func (s *Store) get(ctx context.Context, names []string) ([]byte, error) {
	var packed bytes.Buffer
	for _, name := range names {
		chunk, err := s.chunk(ctx, name)
		if err != nil {
			return nil, err
		}
		s.present[name] = true
		packed.Write(chunk)
	}
	data, err := unpacker.DecodeAll(packed.Bytes(), nil)
	if err != nil {
		return nil, &errLost{strings.Join(names, ", "), "unreadable"}
	}
	return data, nil
}
