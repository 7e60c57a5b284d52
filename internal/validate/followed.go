package validate

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	origin "atoll.dev/atoll/internal/source"
)

// How often a source may be asked.
const (
	minInterval = 10 * time.Second
	maxInterval = 24 * time.Hour
)

func severalFollowed(s v1alpha1.Source) bool {
	return s.Git != nil && (s.Chart != nil || s.OCI != nil) || s.Chart != nil && s.OCI != nil
}

// followed judges by itself what is said of a source that the hub follows;
// whether it is there is found out by fetching.
func followed(path *field.Path, s v1alpha1.Source, follow *origin.Follow) field.ErrorList {
	var errs field.ErrorList
	switch {
	case s.Git != nil:
		errs = repository(path, s.Git)
	case s.Chart != nil:
		errs = chart(path, s.Chart)
	default:
		errs = artifact(path, s.OCI)
	}
	if follow.SecretRef != nil {
		errs = append(errs, subdomain(path.Child("secretRef", "name"), follow.SecretRef.Name)...)
	}
	if v := follow.Verify; v != nil {
		errs = append(errs, subdomain(path.Child("verify", "secretRef", "name"), v.SecretRef.Name)...)
	}
	if i := follow.Interval; i != nil && (i.Duration < minInterval || i.Duration > maxInterval) {
		errs = append(errs, field.Invalid(path.Child("interval"), i.Duration.String(), fmt.Sprintf("must be from %s to %s", minInterval, maxInterval)))
	}
	return errs
}

func repository(path *field.Path, g *v1alpha1.GitSource) field.ErrorList {
	var errs field.ErrorList
	if _, err := origin.ParseRemote(g.URL); err != nil {
		errs = append(errs, unquoted(path.Child("url"), err))
	}
	if err := origin.CheckRef(g.Ref); err != nil {
		errs = append(errs, unquoted(path.Child("ref"), err))
	}
	return append(errs, folder(path.Child("path"), g.Path)...)
}

func chart(path *field.Path, c *v1alpha1.ChartSource) field.ErrorList {
	var errs field.ErrorList
	at, err := origin.ParseIndex(c.Repository)
	if err != nil {
		errs = append(errs, unquoted(path.Child("repository"), err))
	} else if err := origin.CheckChart(at, c.Name); err != nil {
		errs = append(errs, unquoted(path.Child("name"), err))
	}
	if err := origin.CheckVersion(c.Version); err != nil {
		errs = append(errs, unquoted(path.Child("version"), err))
	}
	if c.Verify != nil && at.Scheme == "https" {
		errs = append(errs, field.Forbidden(path.Child("verify"), "a Helm repository keeps no signatures of cosign; follow the chart in a registry, oci://…"))
	}
	return errs
}

func artifact(path *field.Path, o *v1alpha1.OCISource) field.ErrorList {
	var errs field.ErrorList
	if _, err := origin.ParseArtifact(o.URL); err != nil {
		errs = append(errs, unquoted(path.Child("url"), err))
	}
	if err := origin.CheckArtifact(o.Ref); err != nil {
		errs = append(errs, unquoted(path.Child("ref"), err))
	}
	return append(errs, folder(path.Child("path"), o.Path)...)
}

func folder(path *field.Path, given string) field.ErrorList {
	if _, err := origin.Folder(given); err != nil {
		return field.ErrorList{field.Invalid(path, given, err.Error())}
	}
	return nil
}

// unquoted leaves the value out: a password may be in it.
func unquoted(path *field.Path, err error) *field.Error {
	return field.Invalid(path, field.OmitValueType{}, err.Error())
}
