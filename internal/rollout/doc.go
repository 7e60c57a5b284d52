// Package rollout decides how a change travels over an application's clusters:
// Begin freezes who is in which wave, Step tells from what the clusters say how
// far the run may go, and Course which version each cluster is to run
// meanwhile. It is pure: internal/controllers/application gathers what it is
// given and stores what it returns, before any cluster hears of it.
//
// A wave passes only when every cluster of it is in sync and healthy with
// exactly the version that the run asks for, for as long as it must soak.
// Silence is never health: of a cluster that was connected when the run began
// and is not heard since, the run waits until its deadline and then fails. Only
// one that was away from the beginning is passed over, and not if the whole
// wave is away. Where the version brings what tries it out, that must have passed
// on all of them too.
//
// Outside of its windows (Windows) a run begins no cluster, and goes on watching
// and taking back; a freeze (FrozenBy) has it stand where it is, in all it does.
package rollout
