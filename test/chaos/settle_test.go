package chaos_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
)

// heal ends every fault.
func (f *fleetOf) heal() {
	f.t.Helper()
	f.done = append(f.done, fmt.Sprintf("%7.2fs    all faults end", time.Since(f.began).Seconds()))
	if err := f.hub.revive(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	for _, m := range f.members {
		m.setLink("open")
		m.setAPI("is well")
		m.start()
	}
}

// settle waits until members and hub are what was asked for last.
func (f *fleetOf) settle() {
	f.t.Helper()
	until(f.t, "everything is as asked", func(ctx context.Context) error {
		if err := f.connected(ctx); err != nil {
			return err
		}
		var wrong error
		for id, s := range f.intent.now() { // each, for it allows what is held
			if err := f.hubSays(ctx, id, s); err != nil {
				wrong = fmt.Errorf("%s/%s: %w", id.Project, id.Name, err)
			}
		}
		for i := range f.members {
			if err := f.memberIs(i); err != nil {
				return err
			}
		}
		return wrong
	})
	f.judge()
}

// memberIs compares all that is in a member with all that is asked of it.
func (f *fleetOf) memberIs(i int) error {
	found, left := map[string]bool{}, 0
	for _, gvr := range delivered {
		for _, u := range f.members[i].api.Objects(gvr) {
			o, ours := read(u)
			if !ours {
				continue
			}
			now := f.intent.now()[o.app]
			where := fmt.Sprintf("%s %s/%s on member %d", u.GetKind(), u.GetNamespace(), u.GetName(), i)
			if !now.wants(o, i) {
				switch {
				case f.intent.mayRemain(o, i):
				case f.members[i].witness.forgot():
					left++
				default:
					return fmt.Errorf("%s is left over", where)
				}
				continue
			}
			if err := isWanted(u, o, now); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
			found[u.GetKind()+o.app.Project+o.app.Name+fmt.Sprint(o.extra)] = true
		}
	}
	f.members[i].leftOver = left
	want := 0
	for _, s := range f.intent.now() {
		if s.Exists && slices.Contains(s.Members, i) {
			want += 2 + s.Extras
		}
	}
	if len(found) != want {
		return fmt.Errorf("member %d has %d of %d objects", i, len(found), want)
	}
	return nil
}

func isWanted(u *unstructured.Unstructured, o object, now appState) error {
	if o.content != now.Content {
		return fmt.Errorf("its content is %d, not %d", o.content, now.Content)
	}
	if u.GetKind() != "ConfigMap" {
		return nil
	}
	if text, _, _ := unstructured.NestedString(u.Object, "data", "greeting"); text != greeting(now.Content) {
		return fmt.Errorf("it says %q", text)
	}
	return nil
}

// hubSays compares what the hub tells of an application with the truth, and is
// the person who allows what is held.
func (f *fleetOf) hubSays(ctx context.Context, id appID, s appState) error {
	app := &v1alpha1.Application{}
	err := f.hub.Client.Get(ctx, client.ObjectKey{Namespace: projectName(f.seed, id.Project), Name: id.Name}, app)
	if !s.Exists {
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		if err := f.allow(ctx, app); err != nil {
			return err
		}
		return fmt.Errorf("it is deleted, and still there: %+v", app.Status)
	}
	if err != nil {
		return err
	}
	if err := f.allow(ctx, app); err != nil {
		return err
	}
	n, placed := app.Status.Counts, int32(len(s.Members)) //nolint:gosec // a handful
	names := f.names(s.Members)
	switch {
	case app.Status.ObservedGeneration != app.Generation:
		return fmt.Errorf("its status is of generation %d, not %d", app.Status.ObservedGeneration, app.Generation)
	case !slices.Equal(app.Status.Clusters, names) || len(app.Status.Withdrawing) > 0:
		return fmt.Errorf("it is on %v and leaves %v, not on %v", app.Status.Clusters, app.Status.Withdrawing, names)
	case n != v1alpha1.Counts{Placed: placed, InSync: placed, Healthy: placed}:
		return fmt.Errorf("the hub counts %+v of %d: %+v", n, placed, app.Status.Exceptions)
	}
	return nil
}

// allow allows every deletion that is held.
func (f *fleetOf) allow(ctx context.Context, app *v1alpha1.Application) error {
	states, err := f.hub.Fleet.ApplicationClusters(ctx, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	var digests []string
	if states.LeavingDigest != "" {
		digests = append(digests, states.LeavingDigest)
	}
	for _, s := range states.Clusters {
		if d := s.State.HeldDeletion; d != "" && !slices.Contains(digests, d) {
			digests = append(digests, d)
		}
	}
	word := strings.Join(digests, ",")
	if word == "" || app.Annotations[v1alpha1.AnnotationAllowDeletion] == word {
		return nil
	}
	before := client.MergeFrom(app.DeepCopy())
	if app.Annotations == nil {
		app.Annotations = map[string]string{}
	}
	app.Annotations[v1alpha1.AnnotationAllowDeletion] = word
	f.allowed++
	return f.hub.Client.Patch(ctx, app, before)
}

// quiet is how long a fleet that rests must apply and delete nothing.
const quiet = 2 * time.Second

// rest waits until a while has passed in which no agent wrote an object.
func (f *fleetOf) rest() {
	f.t.Helper()
	since, last := time.Now(), f.asked()
	until(f.t, "no agent applies anything", func(context.Context) error {
		if now := f.asked(); now != last {
			since, last = time.Now(), now
		}
		if time.Since(since) < quiet {
			return fmt.Errorf("%d applies and deletions", last)
		}
		return nil
	})
	f.settle()
}

// asked counts the applies and deletions that members saw.
func (f *fleetOf) asked() int {
	n := 0
	for _, m := range f.members {
		requests := m.api.Requests()
		n += requests["apply"] + requests["delete"]
	}
	return n
}
