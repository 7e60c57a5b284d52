package cli

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestARightThatIsMissingIsNamedWithWhoGivesIt(t *testing.T) {
	for words, want := range map[string]string{
		`User "dev" cannot create resource "applications" in API group "atoll.dev" in the namespace "demo"`: "dev lacks the right to create applications.atoll.dev: who administers the hub can give it, by a Role in namespace demo",
		`User "dev" cannot list resource "clusters" in API group "atoll.dev" at the cluster scope`:          "who administers the hub can give it, by a ClusterRole",
		`User "atoll:dev" cannot list resource "pods" in API group "" in the namespace "shop"`:              "atoll:dev lacks the right to list pods: who administers that cluster, not the hub, can give it",
	} {
		if got := sentence(apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "y", errors.New(words))); !strings.Contains(got, want) {
			t.Errorf("got %s; want %s", got, want)
		}
	}
	frozen := apierrors.NewForbidden(schema.GroupResource{Resource: "applications"}, "shop", errors.New("it is frozen"))
	if got := sentence(frozen); strings.Contains(got, "lacks") || !strings.Contains(got, "it is frozen") {
		t.Errorf("what is forbidden for another reason: %s", got)
	}
}

func TestATextWhereAMapBelongsIsToldSo(t *testing.T) {
	cause := metav1.StatusCause{Field: "spec.dependsOn[0]", Message: `Invalid value: "string": spec.dependsOn[0] in body must be of type object: "string"`}
	if got := fieldLine(cause); got != "spec.dependsOn[0]: is of type string, and must be of type object: write {application: NAME}" {
		t.Errorf("got %s", got)
	}
}
