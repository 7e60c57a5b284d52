package health

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// judge decides for one kind what kstatus leaves open or sees more kindly; it
// may leave the rest to kstatus.
type judge func(obj *unstructured.Unstructured, now time.Time) (r Result, decided bool)

var judges = map[schema.GroupKind]judge{
	groupKind("", "Service"):                          service,
	groupKind("", "Pod"):                              pod,
	groupKind("", "PersistentVolumeClaim"):            claim,
	groupKind("", "PersistentVolume"):                 volume,
	groupKind("", "Namespace"):                        namespace,
	groupKind("", "ReplicationController"):            replicationController,
	groupKind("batch", "Job"):                         job,
	groupKind("apps", "Deployment"):                   deployment,
	groupKind("apps", "ReplicaSet"):                   replicaSet,
	groupKind("networking.k8s.io", "Ingress"):         configuration,
	groupKind("apiregistration.k8s.io", "APIService"): apiService,
}

// configuration is in force as soon as it is stored. An Ingress gets its
// address when a controller wants to give one, and many never do.
func configuration(*unstructured.Unstructured, time.Time) (Result, bool) {
	return healthy(""), true
}

// service waits for the address of a load balancer, which kstatus does not.
func service(obj *unstructured.Unstructured, _ time.Time) (Result, bool) {
	if text(obj.Object, "spec", "type") != "LoadBalancer" {
		return Result{}, false
	}
	if len(list(obj.Object, "status", "loadBalancer", "ingress")) == 0 {
		return progressing("waits for the load balancer's address"), true
	}
	return healthy("the load balancer has an address"), true
}

// unschedulableAfter is how long the scheduler may look for a node; kstatus
// has the same window but reads the clock of this machine.
const unschedulableAfter = 15 * time.Second

// pod never leaves the rest to kstatus, which panics on a status of odd shape:
// no object of a member may stop the agent.
func pod(obj *unstructured.Unstructured, now time.Time) (Result, bool) {
	switch phase := text(obj.Object, "status", "phase"); phase {
	case "Succeeded":
		return healthy("the pod is done"), true
	case "Failed":
		return degraded("the pod failed%s", colon(text(obj.Object, "status", "reason"), text(obj.Object, "status", "message"))), true
	case "Running":
		return running(obj), true
	case "Pending":
		return pending(obj, now), true
	default:
		return progressing("nobody has reported on the pod yet"), true
	}
}

func running(obj *unstructured.Unstructured) Result {
	if isTrue(obj, "Ready") {
		return healthy("the pod is ready")
	}
	why := waiting(obj)
	if strings.Contains(why, "CrashLoopBackOff") {
		return degraded("the pod does not stay up%s", why)
	}
	return progressing("the pod runs but is not ready%s", why)
}

func pending(obj *unstructured.Unstructured, now time.Time) Result {
	scheduled := condition(obj, "PodScheduled")
	if scheduled == nil || scheduled.status != "False" || scheduled.reason != "Unschedulable" {
		return progressing("the pod is pending%s", waiting(obj))
	}
	if created := obj.GetCreationTimestamp(); now.Sub(created.Time) < unschedulableAfter {
		return progressing("the pod has no node yet")
	}
	return degraded("no node takes the pod%s", colon("", scheduled.message))
}

// waiting names the containers that wait and why.
func waiting(obj *unstructured.Unstructured) string {
	var said []string
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		for _, c := range list(obj.Object, "status", field) {
			container, ok := c.(map[string]any)
			if !ok {
				continue
			}
			if reason := text(container, "state", "waiting", "reason"); reason != "" {
				said = append(said, text(container, "name")+" "+reason)
			}
		}
	}
	if len(said) == 0 {
		return ""
	}
	return ": " + strings.Join(said, ", ")
}

func claim(obj *unstructured.Unstructured, _ time.Time) (Result, bool) {
	switch phase := text(obj.Object, "status", "phase"); phase {
	case "Bound":
		return healthy("bound to " + text(obj.Object, "spec", "volumeName")), true
	case "Lost":
		return degraded("its volume %s is lost", text(obj.Object, "spec", "volumeName")), true
	default:
		return progressing("the claim is not bound yet"), true
	}
}

func volume(obj *unstructured.Unstructured, _ time.Time) (Result, bool) {
	if text(obj.Object, "status", "phase") == "Failed" {
		return degraded("the volume failed%s", colon(text(obj.Object, "status", "reason"), text(obj.Object, "status", "message"))), true
	}
	return healthy(""), true
}

func namespace(obj *unstructured.Unstructured, _ time.Time) (Result, bool) {
	if text(obj.Object, "status", "phase") == "Terminating" {
		return progressing("is being deleted"), true
	}
	return healthy(""), true
}

// job is not healthy before it is done: what it prepares is not there yet.
func job(obj *unstructured.Unstructured, _ time.Time) (Result, bool) {
	switch suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend"); {
	case isTrue(obj, "Failed"):
		c := condition(obj, "Failed")
		return degraded("the job failed%s", colon(c.reason, c.message)), true
	case isTrue(obj, "FailureTarget"):
		c := condition(obj, "FailureTarget")
		return degraded("the job is failing%s", colon(c.reason, c.message)), true
	case isTrue(obj, "Complete"):
		return healthy("the job is done"), true
	case suspended:
		return healthy("the job is suspended, as asked"), true
	}
	active, _ := number(obj.Object, "status", "active")
	failed, _ := number(obj.Object, "status", "failed")
	return progressing("the job is not done: %d pods running, %d failed", active, failed), true
}

// deployment adds the quota or admission error that keeps pods from existing,
// which kstatus only shows as too few replicas.
func deployment(obj *unstructured.Unstructured, _ time.Time) (Result, bool) {
	if paused, _, _ := unstructured.NestedBool(obj.Object, "spec", "paused"); paused {
		r := byKstatus(obj)
		r.Message += " (paused)"
		return r, true
	}
	return replicaSet(obj, time.Time{})
}

func replicaSet(obj *unstructured.Unstructured, _ time.Time) (Result, bool) {
	if !isTrue(obj, "ReplicaFailure") {
		return Result{}, false
	}
	c := condition(obj, "ReplicaFailure")
	return degraded("pods cannot be made%s", colon(c.reason, c.message)), true
}

func replicationController(obj *unstructured.Unstructured, now time.Time) (Result, bool) {
	if r, decided := replicaSet(obj, now); decided {
		return r, true
	}
	want, given := number(obj.Object, "spec", "replicas")
	if !given {
		want = 1
	}
	if ready, _ := number(obj.Object, "status", "readyReplicas"); ready < want {
		return progressing("Ready: %d/%d", ready, want), true
	}
	return healthy(""), true
}

func apiService(obj *unstructured.Unstructured, _ time.Time) (Result, bool) {
	available := condition(obj, "Available")
	switch {
	case available == nil:
		return progressing("has not been tried yet"), true
	case available.status != "True":
		return degraded("is not available%s", colon(available.reason, available.message)), true
	}
	return healthy(""), true
}

// colon joins what is known of a reason into the end of a sentence.
func colon(reason, message string) string {
	switch {
	case reason == "" && message == "":
		return ""
	case message == "":
		return ": " + reason
	case reason == "":
		return ": " + message
	}
	return ": " + reason + ": " + message
}
