package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

func TestAProjectShowsWhoCannotBeToldAndNoAddressInFull(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	earlier := metav1.NewTime(now.Add(-3 * time.Minute))
	p := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
	p.Spec.Notify = []v1alpha1.Notification{
		{Name: "chat", Webhook: &v1alpha1.Webhook{URL: "https://chat.example.com/services/T0KEN"}},
		{Name: "git", CommitStatus: &v1alpha1.CommitStatus{Provider: v1alpha1.GitHub}},
	}
	p.Status.Notify = []v1alpha1.NotificationStatus{
		{Name: "chat", Pending: 2, Failure: &v1alpha1.NotificationFailure{At: earlier, Event: "application.degraded", Message: "chat.example.com answers 503"}},
		{Name: "git", Delivered: &earlier},
	}
	var out bytes.Buffer
	if err := projectPage(p, now, 0).write(&out, view{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"chat   chat.example.com   never", "3m ago, application.degraded: chat.example.com answers 503", "git    GitHub             3m ago"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "T0KEN") {
		t.Errorf("the address is shown in full:\n%s", out.String())
	}
}
