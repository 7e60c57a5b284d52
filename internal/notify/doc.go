// Package notify decides what is told of applications and clusters to those
// outside who asked for it (spec.notify of a Project): which change is an event,
// whom it concerns, which waits for which, and what became of a commit. How it
// is sent is left to internal/notify/deliver, and when to
// internal/controllers/notify.
//
// Nothing is recorded of an event but the time until which all were delivered:
// events follow from what objects say of themselves, and so do their IDs, so
// that a hub that starts can tell again what it may not have told before, and
// a receiver knows it as the same.
package notify
