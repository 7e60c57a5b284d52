// Package drift decides what counts as drift: which fields of an object are
// ours, what they were when the API server accepted them, which of them someone
// else changed, and which are given up because a rule ignores them or a scaler
// governs them. It is pure: objects come in as decoded JSON, time as an
// argument.
//
// It leaves to others: reading and writing objects (internal/apply), and
// keeping baselines across restarts (internal/localstore).
package drift
