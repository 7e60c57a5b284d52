// Package content turns manifests that people wrote into a Bundle: the objects
// in one canonical form, without secret values, whose digest is its name. It
// decides what a manifest must look like, how it is encoded and how names that
// differ by cluster are bound; the hub and the agent call the same functions.
//
// It leaves to others: who may deliver what (internal/policy), storing
// (internal/blob), sealing values (internal/seal) and applying (internal/apply).
//
// Objects are delivered as written, with these exceptions, each of which the
// API server would refuse or overwrite: the fields that the server owns
// (status, metadata.uid, resourceVersion, generation, creationTimestamp,
// deletionTimestamp, deletionGracePeriodSeconds, selfLink, managedFields) are
// left out, a Secret's stringData becomes data, and kubectl's copy of the
// manifest in an annotation is left out of Secrets because it holds the values.
package content

import (
	"encoding/json"

	"atoll.dev/atoll/internal/report"
)

// Limits of what is accepted.
const (
	// MaxObject is the size of one object as canonical JSON, in bytes, secret
	// values included. etcd refuses requests over 1.5 MiB.
	MaxObject = 1 << 20
	// MaxObjects is how many objects one bundle may hold.
	MaxObjects = 20_000
	// MaxTotal bounds the manifests as given, and again as encoded, in bytes.
	MaxTotal = 64 << 20
	// MaxDocument bounds one YAML document, in bytes.
	MaxDocument = 16 << 20
)

// File is one manifest file; Name is for people and appears in every error.
type File struct {
	Name string
	Data []byte
}

// Bundle is a set of objects, sorted: namespaces, custom resource definitions,
// then everything else by group, kind, namespace and name.
type Bundle struct {
	Objects []Object
}

// Object is one object without its secret values.
type Object struct {
	// Ref names it as written; Namespace is empty when the manifest has none.
	Ref report.ObjectRef
	// Manifest is canonical JSON: sorted keys, no insignificant space.
	Manifest json.RawMessage
	// Values, for a Secret, maps each key of its data to the reference that
	// stands for the value.
	Values map[string]string
}

// SecretValue is a value that was split out of a Secret. It must never be
// logged, compared in clear or stored unsealed.
type SecretValue struct {
	Ref   string
	Value []byte
}

// String hides the value from every %v and %s.
func (v SecretValue) String() string { return v.Ref + " (hidden)" }

// GoString hides the value from %#v.
func (v SecretValue) GoString() string { return v.String() }

// RefFunc names a secret value by a keyed hash, so that equal values have equal
// references and the reference tells nothing without the key. seal.RefKey.Ref
// is one.
type RefFunc func(namespace, name, key string, value []byte) string

// Options steer Parse.
type Options struct {
	// Ref names secret values; when nil, Secrets with values are refused.
	Ref RefFunc
	// Namespace is where objects without a namespace will go, if known: an
	// object that names it and one that names none are then duplicates.
	Namespace string
}

// Parsed is the outcome of Parse.
type Parsed struct {
	Bundle Bundle
	// Values are the secret values, one for each distinct reference.
	Values []SecretValue
	// Warnings tell of fields that were left out.
	Warnings []Problem
}
