package apply

import "time"

// grace is how long a refusal is called progress: a member's API server hears
// of new roles, namespaces and definitions by watches of its own, each replica
// for itself, in milliseconds or, when it is busy, in a second or two. The
// attempts meanwhile tell what lasts.
const grace = 3 * time.Second

// settling tells what began too short ago to be called a failure.
func settling(since, now time.Time) bool { return now.Sub(since) < grace }

// definite tells refusals of the manifest itself, which do not pass with time.
func definite(reason string) bool {
	return reason == "Conflict" || reason == "Invalid" || reason == "TooLarge"
}

// fails tells that an object will not become as wanted by waiting a little
// longer. An outage is one failure, however long: it is told otherwise.
func (o *object) fails(now time.Time) bool {
	const attempts = 5
	return o.problem != nil && (definite(o.problem.Reason) || o.spent() || o.failures >= attempts && !settling(o.troubled, now))
}
