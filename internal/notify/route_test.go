package notify_test

import (
	"testing"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/notify"
)

func TestWhoWantsWhat(t *testing.T) {
	app, cluster := notify.Subject{Project: "demo", Application: "shop"}, notify.Subject{Cluster: "eu-1"}
	for name, c := range map[string]struct {
		n     v1alpha1.Notification
		event notify.Event
		want  bool
	}{
		"everything by default":      {v1alpha1.Notification{}, notify.Event{Type: notify.Halted, Subject: app}, true},
		"clusters, too":              {v1alpha1.Notification{}, notify.Event{Type: notify.Connected, Subject: cluster}, true},
		"but no commits":             {v1alpha1.Notification{}, notify.Event{Type: notify.Commit, Subject: app}, false},
		"rollouts by a star":         {v1alpha1.Notification{Events: []string{"application.rollout.*"}}, notify.Event{Type: notify.Halted, Subject: app}, true},
		"nothing beside them":        {v1alpha1.Notification{Events: []string{"application.rollout.*"}}, notify.Event{Type: notify.Degraded, Subject: app}, false},
		"applications by labels":     {v1alpha1.Notification{Applications: "tier=front"}, notify.Event{Type: notify.Degraded, Subject: app}, true},
		"others not":                 {v1alpha1.Notification{Applications: "tier=back"}, notify.Event{Type: notify.Degraded, Subject: app}, false},
		"then clusters neither":      {v1alpha1.Notification{Applications: "tier=front"}, notify.Event{Type: notify.Connected, Subject: cluster}, false},
		"commits of the host":        {v1alpha1.Notification{CommitStatus: &v1alpha1.CommitStatus{Provider: v1alpha1.GitHub}}, commitOf("https://github.com/acme/shop"), true},
		"of no other host":           {v1alpha1.Notification{CommitStatus: &v1alpha1.CommitStatus{Provider: v1alpha1.GitHub}}, commitOf("https://gitlab.com/acme/shop"), false},
		"a Git host wants no events": {v1alpha1.Notification{CommitStatus: &v1alpha1.CommitStatus{Provider: v1alpha1.GitHub}}, notify.Event{Type: notify.Halted, Subject: app}, false},
	} {
		route, err := notify.NewRoute(c.n, noon)
		if err != nil {
			t.Fatal(err)
		}
		if got := route.Wants(c.event, map[string]string{"tier": "front"}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func commitOf(url string) notify.Event {
	return notify.Event{Type: notify.Commit, Report: &notify.CommitReport{URL: url}}
}

func TestARepositoryIsKnownToItsHostByItsPath(t *testing.T) {
	github, gitlab := v1alpha1.CommitStatus{Provider: v1alpha1.GitHub}, v1alpha1.CommitStatus{Provider: v1alpha1.GitLab}
	own := v1alpha1.CommitStatus{Provider: v1alpha1.Gitea, URL: "https://git.example.com:3000/forge/api/v1/"}
	for _, c := range []struct {
		of        v1alpha1.CommitStatus
		url, want string
	}{
		{github, "https://github.com/acme/shop", "acme/shop"},
		{github, "https://github.com/acme/shop.git/", "acme/shop"},
		{github, "git@github.com:acme/shop.git", "acme/shop"},
		{github, "ssh://git@ssh.github.com:443/acme/shop.git", "acme/shop"},
		{github, "https://github.com.evil.example/acme/shop", ""},
		{github, "https://github.com/acme/shop/more", ""},
		{github, "https://github.com/acme", ""},
		{gitlab, "https://gitlab.com/group/sub/shop.git", "group/sub/shop"},
		{gitlab, "https://gitlab.com/group", ""},
		{own, "https://git.example.com:3000/forge/acme/shop", "acme/shop"},
		{own, "https://git.example.com:3000/acme/shop", ""},
		{own, "git@git.example.com:acme/shop.git", "acme/shop"},
		{own, "no URL", ""},
	} {
		got, ok := notify.Repository(&c.of, c.url)
		if got != c.want && ok || ok != (c.want != "") {
			t.Errorf("%s of %s: %q, %v", c.url, c.of.Provider, got, ok)
		}
	}
}
