package phase

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// End is how far a hook got.
type End int

// A hook that has ended does not begin again.
const (
	Running End = iota
	Succeeded
	Failed
)

// EndOf reads how far the object of a hook got, and of a failure why. Jobs and
// Pods end; anything else has done its work when it is healthy, which the caller
// judges.
func EndOf(object map[string]any, healthy bool) (End, string) {
	kind, _ := object["kind"].(string)
	apiVersion, _ := object["apiVersion"].(string)
	switch {
	case kind == "Job" && apiVersion == "batch/v1":
		return jobEnd(object)
	case kind == "Pod" && apiVersion == "v1":
		return podEnd(object)
	case healthy:
		return Succeeded, ""
	}
	return Running, ""
}

func jobEnd(object map[string]any) (End, string) {
	conditions, _, _ := unstructured.NestedFieldNoCopy(object, "status", "conditions")
	list, _ := conditions.([]any)
	for _, item := range list {
		c, _ := item.(map[string]any)
		if c["status"] != "True" {
			continue
		}
		switch c["type"] {
		case "Complete":
			return Succeeded, ""
		case "Failed":
			return Failed, "the job failed" + because(c)
		}
	}
	return Running, ""
}

func podEnd(object map[string]any) (End, string) {
	status, _ := object["status"].(map[string]any)
	switch status["phase"] {
	case "Succeeded":
		return Succeeded, ""
	case "Failed":
		return Failed, "the pod failed" + because(status)
	}
	return Running, ""
}

// because joins the reason and the message of a status.
func because(status map[string]any) string {
	text := ""
	for _, field := range []string{"reason", "message"} {
		if said, _ := status[field].(string); said != "" {
			text += ": " + said
		}
	}
	return text
}
