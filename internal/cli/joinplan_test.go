package cli

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
)

func joining(name, uid string, accepted bool, state v1alpha1.ConnectionState) v1alpha1.Cluster {
	c := v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterSpec{Accepted: accepted}}
	c.Status.Connection.State = state
	if uid != "" {
		c.Status.Identity = &v1alpha1.AgentIdentity{ClusterUID: uid}
	}
	return c
}

func TestAClusterIsTakenUpWhereItWasLeft(t *testing.T) {
	at := join.Choice{Context: "prod-eu", Cluster: "eu"}
	ours := &join.Ticket{Cluster: "eu", Address: "hub:7444"}
	for _, tt := range []struct {
		name  string
		m     memberFacts
		known []v1alpha1.Cluster
		want  stage
		says  string
	}{
		{"nobody knows it", memberFacts{uid: "1"}, nil, stageNew, ""},
		{"registered only", memberFacts{uid: "1"}, []v1alpha1.Cluster{joining("eu", "", false, "")}, stageInstall, ""},
		{"installed, and the token ran out", memberFacts{uid: "1", installed: ours}, []v1alpha1.Cluster{joining("eu", "", false, "")}, stageInstall, ""},
		{"its agent waits", memberFacts{uid: "1", installed: ours}, []v1alpha1.Cluster{joining("eu", "1", false, "")}, stageAccept, ""},
		{"accepted and away", memberFacts{uid: "1", installed: ours}, []v1alpha1.Cluster{joining("eu", "1", true, v1alpha1.Disconnected)}, stageConnect, ""},
		{"all done", memberFacts{uid: "1", installed: ours}, []v1alpha1.Cluster{joining("eu", "1", true, v1alpha1.Connected)}, stageJoined, ""},
		{"all done under another name", memberFacts{uid: "1", installed: ours}, []v1alpha1.Cluster{joining("europe", "1", true, v1alpha1.Connected)}, stageJoined, ""},
		{"the name is another cluster's", memberFacts{uid: "1"}, []v1alpha1.Cluster{joining("eu", "2", true, v1alpha1.Connected)}, 0, "the name eu is taken"},
		{"another hub's", memberFacts{uid: "1", installed: &join.Ticket{Cluster: "eu", Address: "other:7444"}}, nil, 0, "of the hub at other:7444"},
		{"another hub's, under another name", memberFacts{uid: "1", installed: &join.Ticket{Cluster: "x", Address: "other:7444"}}, []v1alpha1.Cluster{joining("eu", "", false, "")}, 0, "of the hub at other:7444"},
	} {
		got, _, err := standing(at, tt.m, tt.known)
		if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) || tt.says == "" && (err != nil || got != tt.want) {
			t.Errorf("%s: stage %d, %v", tt.name, got, err)
		}
	}
}

// The token may have been used elsewhere: what enrolled is held against what
// the context reaches before it is accepted.
func TestAnAgentOfAnotherClusterIsNotAccepted(t *testing.T) {
	at := join.Choice{Context: "prod-eu", Cluster: "eu"}
	thief := joining("eu", "2", false, "")
	if err := enrolledElsewhere(at, &thief, "1"); err == nil || !strings.Contains(err.Error(), "not accepted: atoll remove eu") {
		t.Errorf("got %v", err)
	}
	if err := enrolledElsewhere(at, &thief, "2"); err != nil {
		t.Error(err)
	}
}
