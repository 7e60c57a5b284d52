package hub

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/wire"
)

// A change that lies in the hub's store waits for no other disk: the cluster has it
// while its content cannot be written, and no record names that before it is.
func TestAClusterHasInlineContentBeforeTheDiskHas(t *testing.T) {
	b := hubOf(t)
	b.project("unsaved")
	m := b.joined("unsaved-a", map[string]string{"unsaved": "yes"})
	key := desired.Key{Project: "unsaved", Application: "web"}
	b.deploy("unsaved", "web", "unsaved=yes", v1alpha1.Orphan)
	m.until("the application is there", func(r desired.Root) bool { _, ok := r.Get(key); return ok })
	recorded := func(what string, is func(revision string) bool) {
		t.Helper()
		b.eventually(what, func() error {
			if now := b.app("unsaved", "web").Status.Revision; !is(now) {
				return fmt.Errorf("the status names %q", now)
			}
			return nil
		})
	}
	first, _ := m.root.Get(key)
	recorded("the first revision is recorded", func(now string) bool { return now == first.Revision })

	data := filepath.Dir(b.ready.AdminKubeconfig)
	kept, away := filepath.Join(data, "content", "unsaved"), filepath.Join(data, "away")
	b.must(errors.Join(os.Rename(kept, away), os.WriteFile(kept, nil, 0o600))) // no folder: nothing can be written
	mended := false
	mend := func() {
		if !mended {
			mended = true
			b.must(errors.Join(os.Remove(kept), os.Rename(away, kept)))
		}
	}
	t.Cleanup(mend)
	app := b.app("unsaved", "web")
	change := client.MergeFrom(app.DeepCopy())
	app.Spec.Source.Inline = fmt.Sprintf(manifest, "changed")
	b.must(b.client.Patch(t.Context(), app, change))

	second, brought := m.broughtWith(key, first.Content)
	if len(brought) != 1 || desired.Sum(brought[0].Data) != second.Content {
		t.Errorf("with %s came %+v", second.Content.Short(), brought)
	}
	if now := b.app("unsaved", "web").Status.Revision; now != first.Revision {
		t.Errorf("%s is recorded, and is on no disk", now)
	}
	if err := b.client.Get(t.Context(), client.ObjectKey{Namespace: "unsaved", Name: second.Revision}, &v1alpha1.Revision{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("its Revision is there: %v", err)
	}
	mend()
	recorded("it is recorded once it is durable", func(now string) bool { return now == second.Revision })
	if found, err := filepath.Glob(filepath.Join(kept, "*", "*")); err != nil || len(found) != 2 {
		t.Errorf("on the disk are %v: %v", found, err)
	}
}

// broughtWith waits for another content of an application than the one before, and
// returns what came with it.
func (m *member) broughtWith(key desired.Key, before desired.Digest) (desired.Entry, []*wire.Content) {
	m.Helper()
	late := time.After(patience)
	for {
		select {
		case got, ok := <-m.got:
			if !ok {
				m.Fatalf("the link ended: %v", m.link.Err())
			}
			root, err := got.Desired.Delta.Apply(m.root)
			m.must(err)
			m.root = root
			if e, _ := root.Get(key); e.Content != before {
				return e, got.Desired.Contents
			}
		case <-late:
			m.Fatal("no change comes")
		}
	}
}
