package rollout

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Frozen is a freeze in force.
type Frozen struct {
	v1alpha1.Freeze
	// Scope is what is kept as it is: "everything", "project shop",
	// "application web".
	Scope string
	// Thaw is the command that ends it.
	Thaw string
}

// FrozenBy is the widest freeze in force over an application; nil when there is
// none. The hub's own freeze and the project may be nil.
func FrozenBy(hub *v1alpha1.Freeze, project *v1alpha1.Project, app *v1alpha1.Application, now time.Time) *Frozen {
	if f := FrozenHub(hub, now); f != nil {
		return f
	}
	if project != nil {
		if f := FrozenProject(project, now); f != nil {
			return f
		}
	}
	return FrozenApplication(app, now)
}

// FrozenHub is the freeze of everything while it is in force.
func FrozenHub(freeze *v1alpha1.Freeze, now time.Time) *Frozen {
	return inForce(freeze, now, "everything", "atoll thaw --all")
}

// FrozenProject is a project's own freeze while it is in force.
func FrozenProject(p *v1alpha1.Project, now time.Time) *Frozen {
	return inForce(p.Spec.Freeze, now, "project "+p.Name, "atoll thaw project/"+p.Name)
}

// FrozenApplication is an application's own freeze while it is in force.
func FrozenApplication(app *v1alpha1.Application, now time.Time) *Frozen {
	return inForce(app.Spec.Freeze, now, "application "+app.Name, fmt.Sprintf("atoll thaw app/%s -p %s", app.Name, app.Namespace))
}

func inForce(f *v1alpha1.Freeze, now time.Time, scope, thaw string) *Frozen {
	if f == nil || f.Until != nil && !now.Before(f.Until.Time) {
		return nil
	}
	return &Frozen{Freeze: *f, Scope: scope, Thaw: thaw}
}

// Left is how long until it thaws by itself; zero when it does not.
func (f *Frozen) Left(now time.Time) time.Duration {
	if f == nil || f.Until == nil {
		return 0
	}
	return f.Until.Sub(now)
}

// Why is one sentence: "project shop is frozen by anna until 2026-01-02 16:00
// UTC: release week".
func (f *Frozen) Why() string {
	text := f.Scope + " is frozen"
	if f.By != "" {
		text += " by " + f.By
	}
	if f.Until != nil {
		text += " until " + f.Until.UTC().Format("2006-01-02 15:04 MST")
	}
	return text + ": " + f.Reason
}

// The keys of the ConfigMap that freezes everything.
const (
	keyReason = "reason"
	keyBy     = "by"
	keySince  = "since"
	keyUntil  = "until"
)

// FreezeData is a freeze of everything as it is stored.
func FreezeData(f v1alpha1.Freeze) map[string]string {
	data := map[string]string{keyReason: f.Reason}
	if f.By != "" {
		data[keyBy] = f.By
	}
	for key, at := range map[string]*metav1.Time{keySince: f.Since, keyUntil: f.Until} {
		if at != nil {
			data[key] = at.UTC().Format(time.RFC3339)
		}
	}
	return data
}

// ParseFreeze reads what is stored. What cannot be read freezes all the same,
// and until somebody thaws it: whoever wrote it meant to stop something.
func ParseFreeze(data map[string]string) *v1alpha1.Freeze {
	f := &v1alpha1.Freeze{Reason: data[keyReason], By: data[keyBy]}
	if f.Reason == "" {
		f.Reason = "no reason is given"
	}
	for key, at := range map[string]**metav1.Time{keySince: &f.Since, keyUntil: &f.Until} {
		if data[key] == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, data[key])
		if err != nil {
			f.Reason += fmt.Sprintf(" (%s %q is no RFC 3339 time)", key, data[key])
			continue
		}
		*at = &metav1.Time{Time: t}
	}
	return f
}
