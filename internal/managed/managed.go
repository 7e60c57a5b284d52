// Package managed decides, of Atoll's own objects on the hub that an Application
// delivers there, whose fields they are and whether somebody else may change them
// now. It is pure: the hub's admission asks it, and the package
// internal/controllers/hubapp ends what it let pass.
package managed

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/drift"
)

// managerPrefix is that of the field managers that applications are delivered by.
const managerPrefix = "atoll/"

// Reserved tells that nobody but the hub writes under this field manager.
func Reserved(fieldManager string) bool { return strings.HasPrefix(fieldManager, managerPrefix) }

// Manager is an application that manages fields of an object.
type Manager struct{ Project, Application string }

// Fields is its field manager.
func (m Manager) Fields() string { return managerPrefix + m.Project + "/" + m.Application }

// Of are the applications that hold fields of an object. Whether they still exist
// only the hub knows: an object that was let go of keeps their mark.
func Of(obj *unstructured.Unstructured) []Manager {
	var all []Manager
	for _, entry := range obj.GetManagedFields() {
		rest, is := strings.CutPrefix(entry.Manager, managerPrefix)
		project, application, two := strings.Cut(rest, "/")
		if is && two && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == "" {
			all = append(all, Manager{project, application})
		}
	}
	return all
}

// mark stands for the ownership itself: without it the next change would pass.
const mark = "metadata.managedFields"

// Changed are the fields of m in old that new has otherwise.
func Changed(m Manager, old, new *unstructured.Unstructured) ([]string, error) {
	before, err := drift.Take(old, m.Fields(), nil)
	if err != nil {
		return nil, err
	}
	changes, err := drift.Compare(before, new, m.Fields(), nil)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, c := range changes {
		paths = append(paths, strings.TrimPrefix(c.Path.String(), "."))
	}
	if len(paths) == 0 && drift.EntryHash(new.GetManagedFields(), m.Fields()) == 0 {
		paths = append(paths, mark)
	}
	return paths, nil
}

// From says where an application takes what it delivers from, for people.
func From(app *v1alpha1.Application) string {
	s, fetched := app.Spec.Source, app.Status.Source
	switch {
	case s.Git != nil && fetched != nil && fetched.Commit != nil:
		return s.Git.URL + "@" + short(fetched.Commit.ID)
	case s.Git != nil:
		return s.Git.URL
	case s.Chart != nil:
		return fmt.Sprintf("chart %s of %s", s.Chart.Name, s.Chart.Repository)
	case s.OCI != nil:
		return s.OCI.URL
	case s.Content != nil:
		return "an upload"
	}
	return "its inline manifests"
}

// short is an ID as people write it, without the name of its hash.
func short(id string) string {
	_, digits, _ := strings.Cut(id, ":")
	return digits[:min(len(digits), 12)]
}
