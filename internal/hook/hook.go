// Package hook takes the word of Git hosts that something was pushed, and has
// the applications looked at that follow such a repository. Who says so must
// prove that it knows a key of the project; what it says is not read, for the
// hub asks the repository itself.
//
// It writes a wish on Applications, which internal/controllers/source carries
// out, so any hub of a store may be told.
package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
)

const (
	// Path is what hooks are sent to, by POST; PROJECT and SECRET follow.
	Path = "/hooks/git/"
	// Key is the name of the key in a Secret with a repository's credentials.
	Key = "webhook"
	// maxBody is what GitHub sends at most, in bytes.
	maxBody = 25 << 20
	// minKey is the least length of a key that is believed, in bytes.
	minKey = 16
	// maxAtOnce bounds what strangers may have looked up.
	maxAtOnce = 8
)

// New answers hooks. The client's cache, if any, must not be of Secrets.
func New(c client.Client, now func() time.Time) http.Handler {
	h := &handler{client: c, now: now, turns: make(chan struct{}, maxAtOnce)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path+"{project}/{secret}", h.take)
	return mux
}

type handler struct {
	client client.Client
	now    func() time.Time
	turns  chan struct{}
}

func (h *handler) take(w http.ResponseWriter, r *http.Request) {
	told := h.now()
	project, name := r.PathValue("project"), r.PathValue("secret")
	key, err := h.key(r.Context(), project, name)
	switch {
	case errors.Is(err, errBusy):
		w.Header().Set("Retry-After", "5")
		http.Error(w, errBusy.Error(), http.StatusServiceUnavailable)
		return
	case err != nil:
		http.Error(w, "the hub cannot look now; send it again", http.StatusServiceUnavailable)
		return
	}
	// Nobody's turn: a stranger may send a body as slowly as he likes.
	proven, err := proves(r.Header, http.MaxBytesReader(w, r.Body, maxBody), key)
	switch {
	case err != nil:
		http.Error(w, "the hook could not be read", http.StatusBadRequest)
		return
	case !proven:
		// The same whether there is such a Secret or not.
		http.Error(w, "the hook is not signed with the key of that Secret", http.StatusForbidden)
		return
	}
	count, err := h.wake(r.Context(), project, name, told)
	if err != nil {
		http.Error(w, "not all applications could be told; send it again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, "%d applications are looked at\n", count)
}

var errBusy = errors.New("too many hooks at once")

// key is what a hook must be signed with; empty when there is none.
func (h *handler) key(ctx context.Context, project, name string) ([]byte, error) {
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	default:
		return nil, errBusy
	}
	// Only namespaces of projects: the hub has Secrets of its own.
	if err := h.client.Get(ctx, types.NamespacedName{Name: project}, &v1alpha1.Project{}); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	s := &corev1.Secret{}
	if err := h.client.Get(ctx, types.NamespacedName{Namespace: project, Name: name}, s); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return s.Data[Key], nil
}

// proves tells whether a hook comes from who knows the key: by a signature of
// the body, as GitHub, Gitea, Forgejo and Bitbucket make it, or by the key
// itself, as GitLab does. The body is read to its end in any case.
func proves(header http.Header, body io.Reader, key []byte) (bool, error) {
	signed := hmac.New(sha256.New, key)
	if _, err := io.Copy(signed, body); err != nil {
		return false, fmt.Errorf("read a hook: %w", err)
	}
	if len(key) < minKey {
		return false, nil
	}
	for _, name := range []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Gitea-Signature"} {
		if given := header.Get(name); given != "" && same(given, signed) {
			return true, nil
		}
	}
	// Of equal length, so that the comparison does not tell the key's.
	given, wanted := sha256.Sum256([]byte(header.Get("X-Gitlab-Token"))), sha256.Sum256(key)
	return hmac.Equal(given[:], wanted[:]), nil
}

func same(given string, signed hash.Hash) bool {
	sum, err := hex.DecodeString(strings.TrimPrefix(given, "sha256="))
	return err == nil && hmac.Equal(sum, signed.Sum(nil))
}

// wake has those applications looked at that use the Secret.
func (h *handler) wake(ctx context.Context, project, secret string, told time.Time) (int, error) {
	var apps v1alpha1.ApplicationList
	if err := h.client.List(ctx, &apps, client.InNamespace(project)); err != nil {
		return 0, fmt.Errorf("list the applications of project %s: %w", project, err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		v1alpha1.AnnotationFetch: told.UTC().Format(time.RFC3339Nano)}}})
	if err != nil {
		return 0, err
	}
	var count int
	var failed error
	for i := range apps.Items {
		follow := source.Followed(apps.Items[i].Spec.Source)
		if follow == nil || follow.SecretRef == nil || follow.SecretRef.Name != secret {
			continue
		}
		err := h.client.Patch(ctx, &apps.Items[i], client.RawPatch(types.MergePatchType, patch))
		failed = errors.Join(failed, client.IgnoreNotFound(err))
		count++
	}
	return count, failed
}
