// Package compliance decides which objects break which policies. A policy is
// Kubernetes' own ValidatingAdmissionPolicy with its bindings and parameters,
// compiled and evaluated with the API server's libraries, variables and cost
// limits, so that what is told here before a delivery is what a member's API
// server says during it. Beside them stand a few checks that no admission policy
// can make, because they are about a namespace as a whole (facts.go), and the
// Pod Security Standards by the checks of the API server itself (podsecurity.go).
//
// An object is judged as if it were created now. What only a cluster could tell
// is reported as undecided, never as passed: who is authorised for what there,
// and how an object would be converted to another version of its API.
//
// It leaves to others: which policies there are (compliance/starter has a set),
// filling in what an API server would default (the caller's objects are judged
// as they are), delivering policies, which applications do, and what is told
// about violations and to whom.
package compliance
