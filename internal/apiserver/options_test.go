package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/admission"
)

func TestServingCertificateHosts(t *testing.T) {
	always := []string{"127.0.0.1", "::1", "localhost"}
	for name, c := range map[string]struct {
		listen string
		public []string
		more   []string
	}{
		"loopback is there anyway":          {"127.0.0.1:7443", nil, nil},
		"a listen address of its own":       {"192.0.2.1:7443", nil, []string{"192.0.2.1"}},
		"everywhere is not a name":          {"0.0.0.0:7443", nil, nil},
		"nor is it in IPv6":                 {"[::]:7443", nil, nil},
		"nor is nothing":                    {":7443", nil, nil},
		"public ones with port and without": {"127.0.0.1:0", []string{"hub.example.org:443", "192.0.2.7"}, []string{"192.0.2.7", "hub.example.org"}},
		"a public IPv6 address, once":       {"[2001:db8::1]:1", []string{"2001:db8::1", "[2001:db8::1]:7443"}, []string{"2001:db8::1"}},
	} {
		o := Options{Listen: c.listen, PublicAddresses: c.public}
		got := map[string]int{}
		for _, host := range o.hosts() {
			got[host]++
		}
		want := map[string]int{}
		for _, host := range append(always, c.more...) {
			want[host]++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

func TestWrongOptionsAreRefusedByName(t *testing.T) {
	for want, o := range map[string]Options{
		"needs a data directory":             {Listen: "127.0.0.1:0"},
		`listen address "7443" is not host:`: {DataDir: "x", Listen: "7443"},
		"needs a group and a version":        {DataDir: "x", Listen: ":0", APIs: []API{{}}},
		"fleet.x/v1 has no handler":          {DataDir: "x", Listen: ":0", APIs: []API{{GroupVersion: schema.GroupVersion{Group: "fleet.x", Version: "v1"}}}},
		`path "hello" does not begin with /`: {DataDir: "x", Listen: ":0", Handlers: map[string]http.Handler{"hello": nil}},
	} {
		if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestRefusalsKeepTheirKind(t *testing.T) {
	kind := schema.GroupVersionKind{Group: "g", Version: "v1", Kind: "K"}
	attributes := admission.NewAttributesRecord(nil, nil, kind, "ns", "name", kind.GroupVersion().WithResource("ks"), "", admission.Create, nil, false, nil)
	size, name := field.Required(field.NewPath("size"), ""), field.Invalid(field.NewPath("name"), "x", "no")
	plain := errors.New("not today")
	for what, c := range map[string]struct {
		err    error
		is     func(error) bool
		fields []string
	}{
		"one field error":              {size, apierrors.IsInvalid, []string{"size"}},
		"a list of them":               {field.ErrorList{size, name}.ToAggregate(), apierrors.IsInvalid, []string{"size", "name"}},
		"joined and wrapped":           {fmt.Errorf("check: %w", errors.Join(size, field.ErrorList{name}.ToAggregate())), apierrors.IsInvalid, []string{"size", "name"}},
		"another reason":               {plain, apierrors.IsForbidden, nil},
		"another reason among fields":  {errors.Join(size, plain), apierrors.IsForbidden, nil},
		"a status of its own":          {apierrors.NewConflict(schema.GroupResource{}, "n", plain), apierrors.IsConflict, nil},
		"a status of its own, wrapped": {fmt.Errorf("check: %w", apierrors.NewTooManyRequestsError("later")), apierrors.IsTooManyRequests, nil},
	} {
		refused := refusal(attributes, c.err)
		if _, bare := refused.(apierrors.APIStatus); !bare || !c.is(refused) { //nolint:errorlint // As the server looks.
			t.Errorf("%s: became %v", what, refused)
		}
		if diff := cmp.Diff(c.fields, fieldsOf(refused)); c.fields != nil && diff != "" {
			t.Errorf("%s: -want +got\n%s", what, diff)
		}
	}
}
