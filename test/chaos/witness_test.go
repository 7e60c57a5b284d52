package chaos_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	delivered   = []schema.GroupVersionResource{configMaps, deployments}
)

// The annotations by which an object tells whose it is, and from which content.
const (
	appKey     = "chaos.atoll.dev/app"
	contentKey = "chaos.atoll.dev/content"
	extraKey   = "chaos.atoll.dev/extra"
)

// object is a delivered object, as it says itself.
type object struct {
	app     appID
	content int
	extra   int // which of the extras, -1 for those that are always there
}

// read tells what u is, if any of ours.
func read(u *unstructured.Unstructured) (object, bool) {
	a := u.GetAnnotations()
	project, name, ok := strings.Cut(a[appKey], "/")
	content, err := strconv.Atoi(a[contentKey])
	extra, err2 := strconv.Atoi(a[extraKey])
	return object{app: appID{project, name}, content: content, extra: extra}, ok && err == nil && err2 == nil
}

// witness sees everything that happens in one member.
type witness struct {
	member int
	seed   int
	intent *intent

	mu sync.Mutex
	// own are the deletions of this test's hand.
	own map[types.UID]bool
	// last is the newest content that each object has had.
	last map[string]int
	// blank: what the agent stores was refused or damaged, or it was killed before
	// it could store, and it was started again. It then deletes nothing that only a
	// content named of which it knows nothing any more.
	blank    bool
	writes   int
	deletes  int
	breaches []string
}

func (w *witness) breach(format string, args ...any) {
	w.breaches = append(w.breaches, fmt.Sprintf("member %d: ", w.member)+fmt.Sprintf(format, args...))
}

// wrote judges what a member stores.
func (w *witness) wrote(gvr schema.GroupVersionResource, u *unstructured.Unstructured) {
	if !slices.Contains(delivered, gvr) {
		return
	}
	o, ours := read(u)
	w.mu.Lock()
	defer w.mu.Unlock()
	id := fmt.Sprintf("%s %s/%s", gvr.Resource, u.GetNamespace(), u.GetName())
	if !ours {
		w.breach("%s is nothing that was delivered", id)
		return
	}
	w.writes++
	if !w.intent.placed(o, w.member) {
		w.breach("%s with content %d was never assigned here", id, o.content)
	}
	if u.GetNamespace() != projectName(w.seed, o.app.Project) {
		w.breach("%s is of project %s", id, o.app.Project)
	}
	for _, f := range u.GetManagedFields() {
		if strings.HasPrefix(f.Manager, "atoll/") && f.Manager != "atoll/"+u.GetNamespace()+"/"+o.app.Name {
			w.breach("%s was written by %s", id, f.Manager)
		}
	}
	switch {
	case o.content >= w.last[id]:
		w.last[id] = o.content
	default:
		w.breach("%s went back from content %d to %d, which nobody asked for", id, w.last[id], o.content)
	}
}

// deleted judges what a member lost.
func (w *witness) deleted(gvr schema.GroupVersionResource, u *unstructured.Unstructured) {
	if !slices.Contains(delivered, gvr) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o, ours := read(u)
	switch {
	case w.own[u.GetUID()]:
	case !ours:
		w.breach("%s %s/%s, which was not delivered, was deleted", gvr.Resource, u.GetNamespace(), u.GetName())
	case !w.intent.mayDelete(o, w.member):
		w.breach("%s %s/%s with content %d was deleted, which nobody asked for", gvr.Resource, u.GetNamespace(), u.GetName(), o.content)
	default:
		w.deletes++
	}
}

func (w *witness) hand(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own[uid] = true
}

func (w *witness) setBlank(blank bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blank = blank
}

// forgot tells whether the agent began without all that it had stored.
func (w *witness) forgot() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blank
}

func (w *witness) said() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.breaches)
}
