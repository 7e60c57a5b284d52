package cli

import (
	"fmt"
	"net/url"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
)

// notifications are whom a project has told, and how that goes.
func notifications(pr *v1alpha1.Project, now time.Time, width int) grid {
	g := grid{head: []string{"NAME", "TO", "DELIVERED", "WAITING", "GIVEN UP", "LAST FAILURE"}, width: width}
	status := map[string]v1alpha1.NotificationStatus{}
	for _, s := range pr.Status.Notify {
		status[s.Name] = s
	}
	for _, n := range pr.Spec.Notify {
		s := status[n.Name]
		delivered := "never"
		if s.Delivered != nil {
			delivered = ago(now, s.Delivered.Time)
		}
		failure := cell{}
		if f := s.Failure; f != nil {
			failure = cell{text: fmt.Sprintf("%s, %s: %s", ago(now, f.At.Time), fallback(f.Event, "before any event"), f.Message), paint: tone("Failed")}
		}
		g.add(text(n.Name), text(receiver(n)), text(delivered), text(fmt.Sprint(s.Pending)), text(fmt.Sprint(s.Dropped)), failure)
	}
	return g
}

// receiver names whom a notification reaches by the host alone: the rest of the
// address may be what lets people in.
func receiver(n v1alpha1.Notification) string {
	switch {
	case n.Webhook != nil:
		if u, err := url.Parse(n.Webhook.URL); err == nil {
			return u.Host
		}
	case n.CommitStatus != nil:
		if u, err := url.Parse(n.CommitStatus.URL); err == nil && u.Host != "" {
			return string(n.CommitStatus.Provider) + " at " + u.Host
		}
		return string(n.CommitStatus.Provider)
	}
	return "nobody"
}
