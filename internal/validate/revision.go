package validate

import (
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// Revision validates a Revision; old is nil on create, and then the spec may
// not change.
func Revision(new, old *v1alpha1.Revision) field.ErrorList {
	spec := field.NewPath("spec")
	s := new.Spec
	if old != nil && !equality.Semantic.DeepEqual(old.Spec, s) {
		return field.ErrorList{field.Forbidden(spec, "a Revision never changes; a new one is recorded when the content does")}
	}
	var errs field.ErrorList
	if len(s.Application) > maxShortName || !nameForm.MatchString(s.Application) {
		errs = append(errs, field.Invalid(spec.Child("application"), s.Application, "must be the name of an Application"))
	}
	if !digestForm.MatchString(s.Digest) {
		return append(errs, field.Invalid(spec.Child("digest"), s.Digest, `must be "sha256:" and 64 lower-case hex digits`))
	}
	if (s.Content == "") != (len(s.Overrides)+len(s.Variants) == 0) || s.Content != "" && !digestForm.MatchString(s.Content) {
		errs = append(errs, field.Invalid(spec.Child("content"), s.Content, "is the digest of what overrides lie over, and stands beside overrides or variants"))
	}
	if wanted := s.Application + "-" + desired.Digest(s.Digest).Short(); new.Name != wanted {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), new.Name, "must be "+wanted+", after the application and the digest"))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"objects", int64(s.Objects)}, {"bytes", s.Bytes}, {"secrets", int64(s.Secrets)}} {
		if n.value < 0 {
			errs = append(errs, field.Invalid(spec.Child(n.name), n.value, "cannot be negative"))
		}
	}
	return errs
}
