// Package access decides who may do what on the hub: what each role allows, where a
// grant gives it and until when, and by which grant somebody may do something.
//
// Making RBAC objects of grants is left to internal/controllers/access, asking
// whether an author may give a role to the hub's authorizer, and who somebody is to
// whatever signs them in.
package access
