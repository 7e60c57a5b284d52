package apiserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	authenticationapi "k8s.io/kubernetes/pkg/apis/authentication"
	"k8s.io/kubernetes/pkg/apis/core"

	"atoll.dev/atoll/internal/audit"
)

// toldOf collects what a witness is told.
type toldOf struct{ writes []string }

func (*toldOf) Sees(context.Context, schema.GroupResource, user.Info) bool { return true }

func (w *toldOf) Wrote(_ context.Context, write Write, _ error) error {
	w.writes = append(w.writes, string(write.Operation)+" "+write.Resource.Resource+" "+write.Subresource)
	return nil
}

func (*toldOf) Reads(context.Context, *request.RequestInfo, user.Info) error { return nil }

// A dry run of what is answered with a Secret, or with a token, shows it like any other.
func TestADryRunThatShowsWhatIsSecretIsToldToTheWitness(t *testing.T) {
	w := &toldOf{}
	v := &validation{witness: w}
	by := &user.DefaultInfo{Name: "eve"}
	secret, config := &core.Secret{}, &core.ConfigMap{}
	for _, c := range []struct {
		kind, resource, subresource string
		operation                   admission.Operation
		object, old                 runtime.Object
	}{
		{"Secret", "secrets", "", admission.Update, secret, secret},
		{"Secret", "secrets", "", admission.Delete, nil, secret},
		{"Secret", "secrets", "", admission.Create, secret, nil},
		{"ConfigMap", "configmaps", "", admission.Update, config, config},
		{"TokenRequest", "serviceaccounts", "token", admission.Create, &authenticationapi.TokenRequest{}, nil},
		{"ServiceAccount", "serviceaccounts", "", admission.Create, &core.ServiceAccount{}, nil},
	} {
		kind := corev1.SchemeGroupVersion.WithKind(c.kind)
		if c.subresource != "" {
			kind = schema.GroupVersionKind{Group: "authentication.k8s.io", Version: "v1", Kind: c.kind}
		}
		a := admission.NewAttributesRecord(c.object, c.old, kind, "n", "x", corev1.SchemeGroupVersion.WithResource(c.resource), c.subresource, c.operation, &metav1.CreateOptions{}, true, by)
		if err := v.Validate(t.Context(), a, nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"UPDATE secrets ", "DELETE secrets ", "CREATE serviceaccounts token"}; !slices.Equal(w.writes, want) {
		t.Errorf("told were %q, not %q", w.writes, want)
	}
}

func TestWhoImpersonatesIsKnownOfACallThatAnotherHubPassedOn(t *testing.T) {
	for want, extra := range map[string]map[string][]string{"bob": nil, "admin": {ImpersonatorExtra: {"admin"}}} {
		origin := &audit.Origin{}
		r := httptest.NewRequest("GET", "/", nil)
		known := remembering{authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: "bob", Extra: extra}}, true, nil
		})}
		if _, ok, err := known.AuthenticateRequest(r.WithContext(audit.WithOrigin(r.Context(), origin))); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if origin.Authenticated != want {
			t.Errorf("the credential is of %q, not %q", origin.Authenticated, want)
		}
	}
}
