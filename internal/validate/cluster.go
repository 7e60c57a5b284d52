package validate

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

// Cluster validates a Cluster; old is nil on create.
func Cluster(new, old *v1alpha1.Cluster) field.ErrorList {
	spec := field.NewPath("spec")
	s := new.Spec
	errs := objectName(new.Name, maxClusterName)
	if strings.TrimSpace(s.Owner) == "" {
		errs = append(errs, field.Required(spec.Child("owner"), "name the team that answers for the cluster"))
	}
	errs = append(errs, text(spec.Child("owner"), s.Owner)...)
	errs = append(errs, text(spec.Child("purpose"), s.Purpose)...)
	errs = append(errs, token(spec.Child("provider"), s.Provider, 63)...)
	errs = append(errs, text(spec.Child("account"), s.Account)...)
	errs = append(errs, token(spec.Child("region"), s.Region, 63)...)
	errs = append(errs, token(spec.Child("jurisdiction"), s.Jurisdiction, 63)...)
	errs = append(errs, token(spec.Child("tenant"), s.Tenant, 63)...)
	errs = append(errs, tokens(spec.Child("frameworks"), s.Frameworks, 63)...)
	errs = append(errs, text(spec.Child("hardwareProfile"), s.HardwareProfile)...)
	errs = append(errs, taints(spec.Child("taints"), s.Taints)...)
	errs = append(errs, profile(spec.Child("profile"), s.Profile)...)
	if s.Agent != nil {
		errs = append(errs, agentImage(spec.Child("agent", "image"), s.Agent.Image)...)
	}
	errs = append(errs, direct(spec.Child("direct"), new, old)...)
	return errs
}

func profile(path *field.Path, p v1alpha1.Profile) field.ErrorList {
	switch p {
	case "", v1alpha1.ProfileRead, v1alpha1.ProfileNamespaces, v1alpha1.ProfileFull:
		return nil
	}
	return field.ErrorList{field.NotSupported(path, p, []v1alpha1.Profile{v1alpha1.ProfileRead, v1alpha1.ProfileNamespaces, v1alpha1.ProfileFull})}
}

// agentImage keeps out what no node could pull.
func agentImage(path *field.Path, image string) field.ErrorList {
	if image == "" || strings.ContainsFunc(image, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return field.ErrorList{field.Invalid(path, image, "name an image, such as registry.example.org/atoll/atoll-agent:v1.2.0")}
	}
	return nil
}

// direct keeps a joined cluster's access as it is: the agent in the member and
// one in the hub would both believe to be the cluster's only one.
func direct(path *field.Path, new, old *v1alpha1.Cluster) field.ErrorList {
	if old != nil && old.Status.Identity != nil && (old.Spec.Direct == nil) != (new.Spec.Direct == nil) {
		return field.ErrorList{field.Forbidden(path, "the cluster has joined; to change how it is reached remove it and join it again (its workloads stay)")}
	}
	if new.Spec.Direct == nil {
		return nil
	}
	return subdomain(path.Child("secretName"), new.Spec.Direct.SecretName)
}

func taints(path *field.Path, list []v1alpha1.Taint) field.ErrorList {
	var errs field.ErrorList
	type identity struct {
		key    string
		effect v1alpha1.TaintEffect
	}
	seen := map[identity]bool{}
	for i, t := range list {
		at := path.Index(i)
		errs = append(errs, keyValue(at, t.Key, t.Value)...)
		switch t.Effect {
		case v1alpha1.TaintNoSelect, v1alpha1.TaintNoExecute:
		default:
			errs = append(errs, field.NotSupported(at.Child("effect"), t.Effect, []v1alpha1.TaintEffect{v1alpha1.TaintNoSelect, v1alpha1.TaintNoExecute}))
		}
		id := identity{t.Key, t.Effect}
		if seen[id] {
			errs = append(errs, field.Duplicate(at, t.Key+":"+string(t.Effect)))
		}
		seen[id] = true
	}
	return errs
}

// keyValue checks a taint's or toleration's key and value as label syntax.
func keyValue(at *field.Path, key, value string) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range validation.IsQualifiedName(key) {
		errs = append(errs, field.Invalid(at.Child("key"), key, problem))
	}
	for _, problem := range validation.IsValidLabelValue(value) {
		errs = append(errs, field.Invalid(at.Child("value"), value, problem))
	}
	return errs
}
