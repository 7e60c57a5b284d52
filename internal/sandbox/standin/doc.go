// Package standin is a member's API server in memory, thousands of them in one
// process: what the agent asks of a cluster, answered in full and at once, so
// that fleets far larger than a machine can carry are joined by the real agent.
//
// It is a http.RoundTripper, so the agent's own clients, encodings and watches
// run over it unchanged. Server-side apply is Kubernetes' own (apimachinery's
// managedfields over the schemas that client-go carries); discovery, lists in
// pages, watches with a bounded history, UID preconditions, finalizers and dry
// runs behave as in a real API server. What it leaves out: validation,
// defaulting, authorization (everybody may do everything), subresources and
// controllers. Of those only their word is there: a workload is reported ready
// after Options.ReadyAfter, or as Health says.
package standin
