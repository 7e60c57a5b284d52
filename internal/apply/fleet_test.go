package apply

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox"
)

// patience bounds every wait; it is far more than anything needs.
const patience = 60 * time.Second

// world is one engine on the shared member, with a namespace of its own.
type world struct {
	t       testing.TB
	cfg     *rest.Config
	client  dynamic.Interface
	project string
	memory  Memory
	engine  *Engine
	stop    func()
	mu      sync.Mutex
	bundles map[desired.Digest]content.Bundle
	values  map[string][]byte
	entries map[desired.Key]desired.Entry
	clock   func() time.Time
	logged  *strings.Builder
	// alone tells that the engine has its entries from memory: no hub has spoken.
	alone bool
}

func memberConfig(t *testing.T) *rest.Config {
	t.Helper()
	cfg, err := sandbox.Shared(t, "member").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

var projects struct {
	sync.Mutex
	n int
}

// newWorld starts an engine for a project that no other test uses.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, memberConfig(t))
}

func newWorldOn(t testing.TB, cfg *rest.Config) *world {
	t.Helper()
	projects.Lock()
	projects.n++
	project := fmt.Sprintf("p%d-%d", projects.n, time.Now().UnixNano()%1e6)
	projects.Unlock()
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, cfg: cfg, client: client, project: project, memory: &Volatile{},
		bundles: map[desired.Digest]content.Bundle{}, values: map[string][]byte{}, entries: map[desired.Key]desired.Entry{},
		logged: &strings.Builder{},
	}
	t.Cleanup(func() { w.halt() })
	w.start()
	return w
}

// start runs an engine with what the memory holds.
func (w *world) start() {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(&lockedWriter{w: w.logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	engine, err := New(w.cfg, Options{Memory: w.memory, Clock: w.clock, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := engine.Run(ctx); err != nil {
			w.t.Errorf("run: %v", err)
		}
	}()
	w.engine = engine
	w.stop = func() { cancel(); <-done }
	w.sync()
}

type lockedWriter struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// halt stops the engine; start may run another.
func (w *world) halt() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// sync hands the engine all entries.
func (w *world) sync() {
	w.t.Helper()
	var entries []desired.Entry
	for _, e := range w.entries {
		entries = append(entries, e)
	}
	root, err := desired.NewRoot(entries)
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine.SetRoot(w.t.Context(), root, func(d desired.Digest) (content.Bundle, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		b, ok := w.bundles[d]
		if !ok {
			return content.Bundle{}, fmt.Errorf("content %s has not arrived", d.Short())
		}
		return b, nil
	}, func(ref string) ([]byte, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		v, ok := w.values[ref]
		if !ok {
			return nil, fmt.Errorf("value %s has not arrived", ref)
		}
		return v, nil
	}, w.recalled()...)
}

func (w *world) recalled() []desired.Key {
	if !w.alone {
		return nil
	}
	return slices.Collect(maps.Keys(w.entries))
}

// store makes a content of manifests and returns its digest.
func (w *world) store(manifests string) desired.Digest {
	w.t.Helper()
	parsed, err := content.Parse([]content.File{{Name: "test.yaml", Data: []byte(w.expand(manifests))}}, content.Options{
		Ref: func(namespace, name, key string, value []byte) string {
			return "hmac-sha256:" + string(desired.Sum([]byte(namespace + name + key + base64.StdEncoding.EncodeToString(value))))[7:]
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	digest := parsed.Bundle.Digest()
	w.bundles[digest] = parsed.Bundle
	for _, v := range parsed.Values {
		w.values[v.Ref] = v.Value
	}
	return digest
}

// expand writes the project's name for $NS.
func (w *world) expand(s string) string { return strings.ReplaceAll(s, "$NS", w.project) }

func (w *world) key(app string) desired.Key { return desired.Key{Project: w.project, Application: app} }

// deploy delivers manifests as an application; change alters the entry first.
func (w *world) deploy(app, manifests string, change ...func(*desired.Entry)) {
	w.t.Helper()
	key := w.key(app)
	e, ok := w.entries[key]
	if !ok {
		e = desired.Entry{Key: key, UID: "uid-" + app, Namespace: w.project, Policy: desired.Policy{DeletionBudget: 10}}
	}
	e.Generation++
	e.Content = w.store(manifests)
	for _, c := range change {
		c(&e)
	}
	w.entries[key] = e
	w.sync()
}

// change alters an entry and nothing else.
func (w *world) change(app string, change func(*desired.Entry)) {
	w.t.Helper()
	e := w.entries[w.key(app)]
	change(&e)
	w.entries[w.key(app)] = e
	w.sync()
}

func report1(e *desired.Entry)  { e.Policy.DriftMode = v1alpha1.DriftReport }
func adopting(e *desired.Entry) { e.Policy.Adopt = true }

// state waits until the state of the present entry satisfies good.
func (w *world) state(app, want string, good func(report.State) bool) report.State {
	w.t.Helper()
	key := w.key(app)
	digest := w.entries[key].Digest()
	deadline := time.Now().Add(patience)
	var last report.State
	for time.Now().Before(deadline) {
		last = w.engine.States()[key]
		if last.Entry == digest && good(last) {
			return last
		}
		select {
		case <-w.engine.Changed():
		case <-time.After(50 * time.Millisecond):
		}
	}
	w.t.Fatalf("%s never became %s; last state:\n%s", app, want, describeState(last))
	return last
}

func describeState(s report.State) string {
	return fmt.Sprintf("sync=%s health=%s objects=%d applied=%d ready=%d message=%q\nproblems=%+v\ndrift=%+v held=%q",
		s.Sync, s.Health, s.Objects, s.Applied, s.Ready, s.Message, s.Problems, s.Drift, s.HeldDeletion)
}

func (w *world) synced(app string) report.State {
	w.t.Helper()
	return w.state(app, "InSync", func(s report.State) bool { return s.Sync == report.InSync })
}

func (w *world) problem(app, reason string) report.Problem {
	w.t.Helper()
	s := w.state(app, "troubled by "+reason, func(s report.State) bool { return find(s, reason) != nil })
	return *find(s, reason)
}

func find(s report.State, reason string) *report.Problem {
	for i := range s.Problems {
		if s.Problems[i].Reason == reason {
			return &s.Problems[i]
		}
	}
	return nil
}

var (
	configs     = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

func (w *world) get(gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	w.t.Helper()
	obj, err := w.client.Resource(gvr).Namespace(w.project).Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return obj
}

func (w *world) exists(gvr schema.GroupVersionResource, name string) bool {
	w.t.Helper()
	_, err := w.client.Resource(gvr).Namespace(w.project).Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	return err == nil
}

// edit is a merge patch by a person.
func (w *world) edit(gvr schema.GroupVersionResource, name, patch string) {
	w.t.Helper()
	_, err := w.client.Resource(gvr).Namespace(w.project).Patch(w.t.Context(), name, types.MergePatchType, []byte(w.expand(patch)), metav1.PatchOptions{FieldManager: "person"})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deleteObject(gvr schema.GroupVersionResource, name string) {
	w.t.Helper()
	if err := w.client.Resource(gvr).Namespace(w.project).Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// create makes an object as a person would.
func (w *world) create(gvr schema.GroupVersionResource, obj map[string]any) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{Object: obj}
	made, err := w.client.Resource(gvr).Namespace(w.project).Create(w.t.Context(), u, metav1.CreateOptions{FieldManager: "person"})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// ownNamespace creates the project's namespace before the engine does.
func (w *world) ownNamespace() {
	w.t.Helper()
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": w.project}}}
	if _, err := w.client.Resource(namespaces.gvr).Create(w.t.Context(), ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
}

// eventually waits for a condition of the member.
func (w *world) eventually(what string, good func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if good() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.t.Fatalf("never: %s", what)
}

func field(obj *unstructured.Unstructured, path ...string) string {
	v, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	return fmt.Sprint(v)
}

func configMap(name string, data ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: $NS}\ndata:\n", name)
	for i := 0; i+1 < len(data); i += 2 {
		fmt.Fprintf(&b, "  %s: %q\n", data[i], data[i+1])
	}
	return b.String()
}

func deployment(name, image string, replicas int) string {
	return fmt.Sprintf(`---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: $NS}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - name: web
        image: %[2]s
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 10m, memory: 16Mi}}
`, name, image, replicas)
}
