// Package deliver sends what internal/notify decided to tell: CloudEvents to
// webhooks, and statuses of commits to Git hosts. It makes one attempt, and says
// of a failure what is to be made of it; when to try again is left to the caller,
// which addresses may be dialled to internal/egress.
package deliver
