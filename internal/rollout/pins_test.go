package rollout_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

func TestTheFirstPinThatCountsIsObeyedUntilItExpires(t *testing.T) {
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }
	app := &v1alpha1.Application{}
	app.Spec.Pins = []v1alpha1.Pin{
		{Revision: "over", Expires: at(0)},
		{Revision: "eu", Clusters: []string{"eu-1", "eu-2"}, Expires: at(time.Hour)},
		{Revision: "all"},
		{Revision: "later", Clusters: []string{"eu-1", "us-1"}},
		{Revision: "never"},
	}
	p := rollout.PinsOf(app, noon)
	if p.All == nil || p.All.Revision != "all" || p.Next != time.Hour {
		t.Errorf("all are at %v, next look in %s", p.All, p.Next)
	}
	for cluster, want := range map[string]string{"eu-1": "eu", "eu-2": "eu", "us-1": "later"} {
		if pin := p.Cluster[cluster]; pin == nil || pin.Revision != want {
			t.Errorf("%s is at %v, want %s", cluster, pin, want)
		}
	}
	if p := rollout.PinsOf(app, noon.Add(time.Hour)); p.Cluster["eu-1"].Revision != "later" || p.Next != 0 {
		t.Errorf("an hour later eu-1 is at %v", p.Cluster["eu-1"])
	}
}
