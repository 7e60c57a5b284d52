package hub

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/audit"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/seal"
)

// What a hub does with acts that its audit log cannot take up.
const (
	auditRefuse = "refuse"
	auditAllow  = "allow"
)

// openAudit opens the log of this hub, which it shares with no other.
func (o *Options) openAudit() (*audit.Log, error) {
	key, err := auditKey(o.Keys)
	if err != nil {
		return nil, err
	}
	hub, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this hub: %w", err)
	}
	return audit.Open(audit.Options{
		Dir: cmp.Or(o.AuditDir, filepath.Join(o.DataDir, "audit")), Key: key, Hub: hub, Now: clock.Now,
		Lenient: o.AuditFailure == auditAllow,
		Complain: func(err error) {
			if err == nil {
				o.Log.Info("the audit log is written again, and tells what it lacks")
				return
			}
			o.Log.Error("what people do cannot be recorded", "then", cmp.Or(o.AuditFailure, auditRefuse), "err", err)
		},
	})
}

// auditKey loads the key that signs the log's heads, or makes it, and the public one
// that others verify with. It comes of the key of references: so it is one key for all
// hubs of a store, and keys that were mounted read-only before there was an audit log,
// where it cannot be written, need nobody to make it.
func auditKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, "audit.key")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var secret seal.RefKey
		if secret, err = refKey(dir); err != nil {
			return nil, err
		}
		if data, err = audit.DeriveKey(secret.Bytes()); err != nil {
			return nil, err
		}
		err = writeKey(path, data)
	}
	if err != nil {
		return nil, fmt.Errorf("open the key of the audit log: %w", err)
	}
	parsed, err := audit.ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	public := filepath.Join(dir, "audit.pub")
	if _, err := os.Stat(public); errors.Is(err, fs.ErrNotExist) {
		data, err := audit.PublicKey(parsed)
		if err == nil {
			err = writeKey(public, data)
		}
		if err != nil {
			return nil, fmt.Errorf("write the public key of the audit log: %w", err)
		}
	}
	return parsed, nil
}

// writeKey writes a file that can be made again, where the directory takes it.
func writeKey(path string, data []byte) error {
	if err := pki.WriteFile(path, data); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return err
	}
	return nil
}

// witness records what people and programs write, and which Secrets they read. The
// hub itself is no person: what it does follows from what is recorded.
type witness struct{ log *audit.Log }

var _ apiserver.Witness = &witness{}

// unseen are what nobody decided: words, turns and questions.
var unseen = []schema.GroupResource{
	{Resource: "events"}, {Group: "events.k8s.io", Resource: "events"},
	{Group: "coordination.k8s.io", Resource: "leases"},
}

// Sees leaves out the hub's own writes before anything is converted for it. Who only
// impersonates the hub has a credential of another's.
func (w *witness) Sees(ctx context.Context, resource schema.GroupResource, by user.Info) bool {
	if resource.Group == "authentication.k8s.io" || resource.Group == "authorization.k8s.io" || slices.Contains(unseen, resource) {
		return false
	}
	origin := audit.OriginFrom(ctx)
	return by.GetName() != user.APIServerUser || origin == nil || origin.Authenticated != user.APIServerUser
}

// Wrote records a write that changes something, was refused, or shows what is secret.
func (w *witness) Wrote(ctx context.Context, write apiserver.Write, refused error) error {
	r := audit.Record{
		Request: write.Request, Verb: strings.ToLower(string(write.Operation)),
		Group: write.Resource.Group, Resource: write.Resource.Resource, Subresource: write.Subresource,
		Namespace: write.Namespace, Name: write.Object(), Result: audit.Admitted,
	}
	r.From(audit.OriginFrom(ctx), write.User.GetName(), write.User.GetGroups())
	if write.DryRun {
		r.Message = "a dry run, which shows what is secret"
	} else {
		r.Changes, r.MoreChanges = audit.Changes(fieldsOf(write.Old), fieldsOf(write.New), write.Subresource == "status")
	}
	if refused != nil {
		r.Result, r.Message = audit.Refused, refused.Error()
		if status := apierrors.APIStatus(nil); errors.As(refused, &status) {
			r.Code = int(status.Status().Code)
		}
	} else if write.Operation == admission.Update && write.Old != nil && len(r.Changes) == 0 && !write.Reveals() {
		return nil
	}
	r.Reason = reason(write)
	return w.log.Append(ctx, r)
}

// reason is what a write says of itself; one that was there before is of another.
func reason(write apiserver.Write) string {
	for _, name := range []string{v1alpha1.AnnotationReason, v1alpha1.AnnotationOverrideReason} {
		if write.New == nil || write.Old != nil && write.Old.GetAnnotations()[name] == write.New.GetAnnotations()[name] {
			continue
		}
		if said := write.New.GetAnnotations()[name]; said != "" {
			return said
		}
	}
	return ""
}

// Reads records that somebody reads Secrets, and not what they say.
func (w *witness) Reads(ctx context.Context, read *request.RequestInfo, by user.Info) error {
	r := audit.Record{Request: apiserver.RequestID(ctx), Verb: read.Verb, Resource: read.Resource, Namespace: read.Namespace, Name: read.Name, Result: audit.Admitted}
	r.From(audit.OriginFrom(ctx), by.GetName(), by.GetGroups())
	return w.log.Append(ctx, r)
}

func fieldsOf(o *unstructured.Unstructured) map[string]any {
	if o == nil {
		return nil
	}
	return o.Object
}
