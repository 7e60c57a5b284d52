package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// TypePrefix begins the type of every event.
const TypePrefix = "dev.atoll."

// The types of events, without TypePrefix.
const (
	Accepted       = "application.accepted"
	Refused        = "application.refused"
	Degraded       = "application.degraded"
	Healthy        = "application.healthy"
	DeletionHeld   = "application.deletion.held"
	DriftCorrected = "application.drift.corrected"
	RolloutBegun   = "application.rollout.begun"
	WavePassed     = "application.rollout.wave-passed"
	Waiting        = "application.rollout.waiting"
	Halted         = "application.rollout.halted"
	RollingBack    = "application.rollout.rolling-back"
	RolledBack     = "application.rollout.rolled-back"
	RolloutDone    = "application.rollout.complete"
	Superseded     = "application.rollout.superseded"
	Disconnected   = "cluster.disconnected"
	Connected      = "cluster.connected"
	// Commit is what a commit status is queued as; it is no CloudEvent.
	Commit = "commit.status"
)

// Event is something that became so.
type Event struct {
	// Type has no TypePrefix.
	Type string
	// Subject is what it is told of: events of one subject are delivered in order.
	Subject Subject
	// UID is that of the object, and Key tells this event from others of the same
	// type there. They make the ID.
	UID types.UID
	Key string
	// At is when it became so, and Latest the latest time at which it can have. First
	// tells that the object was not looked at before, so that only Latest says
	// whether it was told already.
	At, Latest time.Time
	First      bool
	Data       Data
	// Report is what a Git host is told; of a Commit.
	Report *CommitReport
}

// Subject names what an event is told of.
type Subject struct {
	// Project and Application are of an application, Cluster alone of a cluster.
	Project, Application, Cluster string
}

// String is the subject of a CloudEvent.
func (s Subject) String() string {
	if s.Cluster != "" {
		return "clusters/" + s.Cluster
	}
	return "projects/" + s.Project + "/applications/" + s.Application
}

// Data is the payload. It has no values of objects in it: what is told leaves
// the hub.
type Data struct {
	Project     string `json:"project,omitempty"`
	Application string `json:"application,omitempty"`
	Cluster     string `json:"cluster,omitempty"`
	Revision    string `json:"revision,omitempty"`
	Commit      string `json:"commit,omitempty"`
	Rollout     string `json:"rollout,omitempty"`
	// Wave counts from 1; Waves are all of them.
	Wave    int32  `json:"wave,omitempty"`
	Waves   int32  `json:"waves,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Clusters are at most MaxNamed.
	Clusters []ClusterState `json:"clusters,omitempty"`
	// Corrections are how often, Changes at most MaxNamed of what was corrected.
	Corrections int64         `json:"corrections,omitempty"`
	Changes     []FieldChange `json:"changes,omitempty"`
}

// ClusterState is how an application is on a cluster.
type ClusterState struct {
	Name    string `json:"name"`
	Sync    string `json:"sync,omitempty"`
	Health  string `json:"health,omitempty"`
	Message string `json:"message,omitempty"`
	// HeldDeletion is the digest that allows it.
	HeldDeletion string `json:"heldDeletion,omitempty"`
}

// FieldChange is a field that was forced back. Values are left out.
type FieldChange struct {
	Cluster string `json:"cluster"`
	Object  string `json:"object"`
	Path    string `json:"path,omitempty"`
	Manager string `json:"manager,omitempty"`
}

// MaxNamed is how many clusters or changes one event names, maxMessage the
// length of a text in it, in bytes.
const (
	MaxNamed   = 10
	maxMessage = 512
)

// ID is the same whenever the event is told, and of no other.
func (e Event) ID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", e.UID, e.Type, e.Key))
	return hex.EncodeToString(sum[:16])
}

// envelope is CloudEvents 1.0 in the JSON event format
// (github.com/cloudevents/spec, cloudevents/formats/json-format.md).
type envelope struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
	Data            Data   `json:"data"`
}

// Encode is the event as CloudEvents' structured mode has it; hub names who tells.
func (e Event) Encode(hub string) ([]byte, error) {
	data, err := json.Marshal(envelope{
		SpecVersion: "1.0", ID: e.ID(), Source: "/atoll/hubs/" + hub, Type: TypePrefix + e.Type, Subject: e.Subject.String(),
		Time: e.At.UTC().Format(time.RFC3339Nano), DataContentType: "application/json", Data: e.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("encode event %s of %s: %w", e.Type, e.Subject, err)
	}
	return data, nil
}

func clip(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}
