// Package phase decides the order in which the objects of one application are
// delivered, and which of them are hooks: objects that run once for each content
// instead of being kept as they are.
//
// It reads our annotations, those of Argo CD and those of Helm, in that order of
// precedence, says what is wrong with them, and lays the objects out in steps.
// When a step is over, and what is written when, is internal/apply's; refusing
// manifests by file is internal/content's; which hooks of a chart are delivered
// at all is internal/render/helm's.
//
// The semantics are those that Argo CD documents as "sync phases and waves", and
// Helm as "chart hooks", as far as both can be had at once:
//   - phases run in the order PreSync, Sync, PostSync; in each the waves ascend;
//   - pre-install and pre-upgrade are PreSync, post-install and post-upgrade
//     PostSync, and a hook's weight is its wave. What names only an install runs
//     until a cluster was delivered to for the first time, what names only an
//     upgrade afterwards;
//   - Verify, which is ours alone, comes after PostSync and decides no delivery. A
//     test of Helm's is left out, unless internal/render/helm was asked to make it
//     one of these;
//   - a hook that says nothing of it is deleted before it is made again.
package phase
