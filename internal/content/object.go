package content

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	pathcontent "k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"atoll.dev/atoll/internal/report"
)

type typeMeta struct {
	APIVersion, Kind string
}

func typeOf(manifest map[string]any) typeMeta {
	apiVersion, _ := manifest["apiVersion"].(string)
	kind, _ := manifest["kind"].(string)
	return typeMeta{APIVersion: apiVersion, Kind: kind}
}

// identity is what makes two manifests the same object, whatever their version.
type identity struct {
	schema.GroupKind
	namespace, name string
}

func identityOf(r report.ObjectRef) identity {
	return identity{schema.GroupKind{Group: r.Group, Kind: r.Kind}, r.Namespace, r.Name}
}

func isSecret(r report.ObjectRef) bool { return r.Group == "" && r.Kind == "Secret" }

// describe names a manifest in errors, however broken it is.
func describe(manifest map[string]any) string {
	kind := typeOf(manifest).Kind
	metadata, _ := manifest["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	if kind == "" && name == "" {
		return ""
	}
	return report.ObjectRef{
		Kind:      shorten(cmp.Or(kind, "(no kind)")),
		Name:      shorten(cmp.Or(name, "(no name)")),
		Namespace: shorten(namespace),
	}.String()
}

func shorten(s string) string {
	const limit = 253 // the longest name Kubernetes takes
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

var kindPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)

// check reads what every object needs and says all that is wrong with it.
// It must hold for any bytes: Decode trusts nobody either.
func check(manifest map[string]any) (report.ObjectRef, []string) {
	var problems []string
	failf := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	ref := report.ObjectRef{Kind: checkKind(manifest, failf)}
	ref.Group, ref.Version = checkVersion(manifest, failf)
	metadata, ok := manifest["metadata"].(map[string]any)
	if !ok {
		failf("metadata is missing: add metadata.name")
		return ref, problems
	}
	ref.Name, ref.Namespace = checkName(metadata, failf), checkNamespace(metadata, failf)
	checkStrings(metadata, "labels", failf)
	checkStrings(metadata, "annotations", failf)
	checkOwners(metadata, failf)
	return ref, problems
}

func checkVersion(manifest map[string]any, failf func(string, ...any)) (group, version string) {
	apiVersion, _ := manifest["apiVersion"].(string)
	if apiVersion == "" {
		failf(`apiVersion is missing: add one, such as "apps/v1"`)
		return "", ""
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil || len(validation.IsDNS1123Label(gv.Version)) > 0 || gv.Group != "" && len(validation.IsDNS1123Subdomain(gv.Group)) > 0 {
		failf(`apiVersion %q is not GROUP/VERSION such as "apps/v1"`, shorten(apiVersion))
	}
	return gv.Group, gv.Version
}

func checkKind(manifest map[string]any, failf func(string, ...any)) string {
	switch kind, _ := manifest["kind"].(string); {
	case kind == "":
		failf(`kind is missing: add one, such as "Deployment"`)
	case !kindPattern.MatchString(kind):
		failf("kind %q is not a word of letters and digits", shorten(kind))
	case strings.EqualFold(kind, "Secret") && kind != "Secret":
		// Its values would not be split out.
		failf("kind %q is spelt Secret", kind)
	default:
		return kind
	}
	return ""
}

func checkName(metadata map[string]any, failf func(string, ...any)) string {
	name, _ := metadata["name"].(string)
	switch {
	case metadata["name"] != nil && name == "":
		failf("metadata.name must be a string that is not empty: quote it")
	case name == "" && metadata["generateName"] != nil:
		failf("metadata.generateName makes a new object each time it is applied: give metadata.name instead")
	case name == "":
		failf("metadata.name is missing: add it")
	case len(name) > 253:
		failf("metadata.name has %d characters, more than 253", len(name))
	default:
		for _, why := range pathcontent.IsPathSegmentName(name) {
			failf("metadata.name %q %s", name, why)
		}
	}
	return name
}

func checkNamespace(metadata map[string]any, failf func(string, ...any)) string {
	if metadata["namespace"] == nil {
		return ""
	}
	namespace, ok := metadata["namespace"].(string)
	switch {
	case !ok:
		failf("metadata.namespace must be a string: quote it")
	case namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0:
		failf("metadata.namespace %q is not a namespace's name: lower-case letters, digits and '-', at most 63", shorten(namespace))
	}
	return namespace
}

// checkStrings finds `"true"` written without quotes, which every API server refuses.
func checkStrings(metadata map[string]any, field string, failf func(string, ...any)) {
	if metadata[field] == nil {
		return
	}
	entries, ok := metadata[field].(map[string]any)
	if !ok {
		failf("metadata.%s must map names to strings", field)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(entries)) {
		if _, ok := entries[k].(string); !ok && entries[k] != nil {
			failf("metadata.%s[%s] must be a string: quote the value", field, shorten(k))
		}
	}
}

// checkOwners refuses owners: they are named by UID, which exists in one
// cluster only, and the garbage collector of every other deletes the object.
func checkOwners(metadata map[string]any, failf func(string, ...any)) {
	if owners, _ := metadata["ownerReferences"].([]any); len(owners) > 0 {
		failf("metadata.ownerReferences names an owner by its UID in one cluster; elsewhere the garbage collector would delete the object: remove the field")
	}
}

// dropServerOwned removes what only the API server may set and returns the
// fields that held something.
func dropServerOwned(manifest map[string]any) []string {
	var dropped []string
	drop := func(m map[string]any, prefix, field string) {
		v, ok := m[field]
		delete(m, field)
		if object, isMap := v.(map[string]any); ok && v != nil && !(isMap && len(object) == 0) {
			dropped = append(dropped, prefix+field)
		}
	}
	drop(manifest, "", "status")
	metadata, _ := manifest["metadata"].(map[string]any)
	for _, field := range []string{
		"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp",
		"generation", "managedFields", "resourceVersion", "selfLink", "uid",
	} {
		drop(metadata, "metadata.", field)
	}
	if isSecret(report.ObjectRef{Kind: typeOf(manifest).Kind, Group: groupOf(manifest)}) {
		annotations, _ := metadata["annotations"].(map[string]any)
		drop(annotations, "metadata.annotations.", lastApplied)
	}
	return dropped
}

// lastApplied is kubectl's copy of the whole manifest.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func groupOf(manifest map[string]any) string {
	gv, _ := schema.ParseGroupVersion(typeOf(manifest).APIVersion)
	return gv.Group
}

// compareObjects is the canonical order. Namespaces and custom resource
// definitions come first because everything else may need them.
func compareObjects(a, b Object) int {
	return cmp.Or(
		cmp.Compare(rank(a.Ref), rank(b.Ref)),
		cmp.Compare(a.Ref.Group, b.Ref.Group),
		cmp.Compare(a.Ref.Kind, b.Ref.Kind),
		cmp.Compare(a.Ref.Namespace, b.Ref.Namespace),
		cmp.Compare(a.Ref.Name, b.Ref.Name),
	)
}

func rank(r report.ObjectRef) int {
	switch {
	case r.Group == "" && r.Kind == "Namespace":
		return 0
	case r.Group == "apiextensions.k8s.io" && r.Kind == "CustomResourceDefinition":
		return 1
	}
	return 2
}
