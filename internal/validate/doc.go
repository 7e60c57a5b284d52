// Package validate decides whether an object of atoll.dev may be stored, as far
// as the object itself tells. It is the second of three layers: the CRD schemas
// refuse what bounds, patterns and short CEL rules can, this package what they
// cannot (selectors, a user's CEL, field paths, manifests), and the controllers
// set Accepted=False for facts across objects, for which WithinProject is here.
//
// It is pure. The hub calls Object from admission, the CLI before it sends, and
// every refusal names the field and what to do. Asking whether a person holds
// the verbs that Privileges lists is left to the hub's authorizer.
package validate
