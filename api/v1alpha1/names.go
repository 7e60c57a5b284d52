package v1alpha1

// Condition types shared by several kinds.
const (
	// ConditionAccepted is False when facts across objects forbid the object,
	// for instance a residency wider than its project's.
	ConditionAccepted = "Accepted"
	// ConditionFetched is False while a source that the hub follows cannot be
	// fetched, or its newest content is refused; what was fetched before stays.
	ConditionFetched = "Fetched"
	// ConditionReady summarises the others for `kubectl wait`.
	ConditionReady = "Ready"
	// ConditionJoined is True once an agent has enrolled for the Cluster.
	ConditionJoined = "Joined"
	// ConditionPlaced is False when no cluster was chosen, with the reason.
	ConditionPlaced = "Placed"
	// ConditionSynced is True when every placed cluster reports InSync for the
	// present revision.
	ConditionSynced = "Synced"
	// ConditionRolledOut is False while a RolloutRun is under way, waits, was halted
	// or taken back, with the reason.
	ConditionRolledOut = "RolledOut"
	// ConditionFrozen is True while a freeze keeps the clusters from being told
	// anything new.
	ConditionFrozen = "Frozen"
	// ConditionHealthy is True when every placed cluster reports Healthy for
	// the present revision; silence is never health.
	ConditionHealthy = "Healthy"
)

// Labels and annotations. Each is documented in docs/REFERENCE.md.
const (
	// LabelApplication names the owning Application on a Revision or RolloutRun.
	LabelApplication = "atoll.dev/application"
	// AnnotationPauseUntil on an object or namespace of a member holds drift
	// correction there until the RFC 3339 time, at most 24 h ahead.
	AnnotationPauseUntil = "atoll.dev/pause-until"
	// AnnotationReason on an object of the hub says why it is written: with the write
	// that sets it, it comes to the audit log.
	AnnotationReason = "atoll.dev/reason"
	// AnnotationOverrideReason on an object of the hub that an Application manages
	// there says why others may change it until AnnotationPauseUntil.
	AnnotationOverrideReason = "atoll.dev/override-reason"
	// AnnotationOverrideBy is who said so.
	AnnotationOverrideBy = "atoll.dev/override-by"
	// AnnotationAllowDeletion on an Application names the withheld deletions it
	// releases: the digests that `atoll explain` prints, separated by commas.
	AnnotationAllowDeletion = "atoll.dev/allow-deletion"
	// AnnotationPhase on a manifest makes the object a hook of that phase of a
	// delivery: PreSync, Sync, PostSync, SyncFail, or Verify once it is over; Skip
	// leaves it out.
	AnnotationPhase = "atoll.dev/phase"
	// AnnotationWave on a manifest is a whole number: in one phase, lower ones are
	// delivered and healthy first.
	AnnotationWave = "atoll.dev/wave"
	// AnnotationPrune on a manifest is "disabled" where the object stays when it is no
	// longer asked for, and "enabled" whatever other tools' annotations say.
	AnnotationPrune = "atoll.dev/prune"
	// AnnotationRecreate on a manifest is "enabled" where the object is deleted and
	// made anew when it cannot be changed as asked, and "disabled" whatever other
	// tools' annotations say.
	AnnotationRecreate = "atoll.dev/recreate"
	// AnnotationIgnore on a manifest lists fields of the object, separated by commas,
	// that others may change once it exists.
	AnnotationIgnore = "atoll.dev/ignore"
	// AnnotationRunFor on the object of a hook is the content that it was made for;
	// the agent writes it.
	AnnotationRunFor = "atoll.dev/run-for"
	// AnnotationContinues on an Application is the UID of the one that it was before a
	// hub was lost: what agents recorded of that one is its own.
	AnnotationContinues = "atoll.dev/continues"
	// AnnotationFetch on an Application has its source looked at now, whenever the
	// value changes.
	AnnotationFetch = "atoll.dev/fetch"
	// AnnotationAcceptIncarnation on a Cluster lets its agent follow a hub
	// that was restored or rebuilt; the value is that hub's incarnation.
	AnnotationAcceptIncarnation = "atoll.dev/accept-incarnation"
	// AnnotationUnconfirmed on a Cluster says that its enrolment is from a backup
	// of that time, so that its agent is not served before a person confirms it.
	AnnotationUnconfirmed = "atoll.dev/unconfirmed"
	// UnconfirmedRebuilt, in the place of a time, says that a hub that was rebuilt
	// learned of the cluster from its agent.
	UnconfirmedRebuilt = "rebuilt"
	// FinalizerWithdraw keeps an Application until its clusters let go of it.
	FinalizerWithdraw = "atoll.dev/withdraw"
)

// FreezeName is the ConfigMap in the hub's own namespace that freezes everything.
const FreezeName = "atoll-freeze"

// SystemNamespace holds the hub's own records, and in a member the agent.
const SystemNamespace = "atoll-system"
