package apply

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// ID names an object whatever its version.
type ID struct {
	Group     string `cbor:"1,keyasint,omitempty"`
	Kind      string `cbor:"2,keyasint"`
	Namespace string `cbor:"3,keyasint,omitempty"`
	Name      string `cbor:"4,keyasint"`
}

// GroupKind is the object's kind.
func (id ID) GroupKind() schema.GroupKind { return schema.GroupKind{Group: id.Group, Kind: id.Kind} }

// Ref is the ID with a version.
func (id ID) Ref(version string) report.ObjectRef {
	return report.ObjectRef{Group: id.Group, Version: version, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

// String is kubectl's form.
func (id ID) String() string { return id.Ref("").String() }

// Compare orders IDs by kind, then namespace and name.
func (id ID) Compare(o ID) int {
	return cmp.Or(cmp.Compare(id.Group, o.Group), cmp.Compare(id.Kind, o.Kind),
		cmp.Compare(id.Namespace, o.Namespace), cmp.Compare(id.Name, o.Name))
}

// phase orders work: namespaces and definitions before what needs them.
func (id ID) phase() int {
	switch id.GroupKind() {
	case namespaceKind, crdKind:
		return 0
	}
	return 1
}

var (
	namespaceKind = schema.GroupKind{Kind: "Namespace"}
	crdKind       = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
	secretKind    = schema.GroupKind{Kind: "Secret"}
	claimKind     = schema.GroupKind{Kind: "PersistentVolumeClaim"}
)

// FieldManager is the name under which an application's fields are owned. One
// shared name would let two applications overwrite each other silently.
func FieldManager(k desired.Key) string { return "atoll/" + k.Project + "/" + k.Application }

// handoverManager holds fields that were given up to a scaler or an ignore
// rule until their new owner writes them; without an owner the API server
// would reset them to their defaults.
const handoverManager = "atoll-handover"

// agentManager owns what the agent itself needs in the member.
const agentManager = "atoll-agent"

// partOfLabel marks the members of an ApplySet (KEP-3659).
const partOfLabel = "applyset.kubernetes.io/part-of"

// applySetID follows KEP-3659: base64url(sha256("name.namespace.kind.group"))
// of the set's parent, which for an application would be that ConfigMap.
func applySetID(k desired.Key) string {
	parent := fmt.Sprintf("atoll-%s-%s.%s.%s.", k.Project, k.Application, systemNamespace, "ConfigMap")
	sum := sha256.Sum256([]byte(parent))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}
