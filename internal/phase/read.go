package phase

import (
	"fmt"
	"strconv"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// The annotations of others.
const (
	argoHook   = "argocd.argoproj.io/hook"
	argoWave   = "argocd.argoproj.io/sync-wave"
	argoDelete = "argocd.argoproj.io/hook-delete-policy"

	// HelmHook lists the events of a chart's hook.
	HelmHook   = "helm.sh/hook"
	helmWeight = "helm.sh/hook-weight"
	helmDelete = "helm.sh/hook-delete-policy"
)

// Of reads the annotations of a manifest. An error names the annotation and
// what it may be.
func Of(manifest map[string]any) (Mark, error) {
	metadata, _ := manifest["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if len(annotations) == 0 {
		return plain, nil
	}
	return read(func(name string) (string, bool) {
		v, ok := annotations[name].(string)
		return v, ok
	})
}

// Read is Of for annotations by themselves.
func Read(annotations map[string]string) (Mark, error) {
	return read(func(name string) (string, bool) {
		v, ok := annotations[name]
		return v, ok
	})
}

// lookup finds an annotation.
type lookup func(name string) (string, bool)

func read(get lookup) (Mark, error) {
	m := plain
	if err := m.readPhase(get); err != nil {
		return Mark{}, err
	}
	if err := m.readWave(get); err != nil {
		return Mark{}, err
	}
	if !m.Hook {
		return m, nil
	}
	if err := m.readDeletion(get); err != nil {
		return Mark{}, err
	}
	return m, nil
}

func (m *Mark) readPhase(get lookup) error {
	for _, name := range []string{v1alpha1.AnnotationPhase, argoHook} {
		if text, ok := get(name); ok {
			return m.phases(name, text)
		}
	}
	if text, ok := get(HelmHook); ok {
		return m.events(text)
	}
	return nil
}

// phases reads Argo CD's list of hooks; ours is of the same words.
func (m *Mark) phases(name, text string) error {
	var given []Phase
	for _, word := range split(text) {
		switch word {
		case "PreSync":
			given = append(given, PreSync)
		case "Sync":
			given = append(given, Sync)
		case "PostSync":
			given = append(given, PostSync)
		case "SyncFail":
			given = append(given, SyncFail)
		case "Verify":
			if name != v1alpha1.AnnotationPhase {
				return fmt.Errorf("%s: Verify is none of Argo CD's: give it as %s", name, v1alpha1.AnnotationPhase)
			}
			given = append(given, Verify)
		case "Skip":
			m.LeftOut = "is to be skipped, as " + name + " says"
		case "PreDelete", "PostDelete":
			if m.LeftOut == "" {
				m.LeftOut = "is a " + word + " hook, and nothing runs when an application is deleted"
			}
		default:
			return fmt.Errorf("%s: %q is none of PreSync, Sync, PostSync, SyncFail, Verify and Skip", name, clip(word))
		}
	}
	if len(given) == 0 {
		if m.LeftOut == "" {
			return fmt.Errorf("%s is empty: give PreSync, Sync, PostSync, SyncFail, Verify or Skip", name)
		}
		return nil
	}
	if !strings.HasPrefix(m.LeftOut, "is to be skipped") {
		m.LeftOut = "" // what it does at a deletion is not all that it does
	}
	return m.take(name, given)
}

// events reads Helm's list of hooks.
func (m *Mark) events(text string) error {
	var given []Phase
	install, upgrade, ordinary := false, false, false
	for _, word := range split(strings.ToLower(text)) {
		event, known := helmEvents[word]
		if !known {
			return fmt.Errorf("%s: %q is no event that Helm knows", HelmHook, clip(word))
		}
		ordinary = ordinary || word == "crd-install"
		if event.leftOut != "" {
			m.LeftOut = event.leftOut
			continue
		}
		install, upgrade = install || event.install, upgrade || event.upgrade
		if event.install || event.upgrade {
			given = append(given, event.phase)
		}
	}
	switch {
	case len(given) > 0:
		m.LeftOut = ""
	case ordinary:
		m.LeftOut = ""
		return nil
	case m.LeftOut == "":
		return fmt.Errorf("%s is empty: give the events, such as pre-install,pre-upgrade", HelmHook)
	default:
		return nil
	}
	switch {
	case !upgrade:
		m.Occasion = FirstDelivery
	case !install:
		m.Occasion = LaterDeliveries
	}
	return m.take(HelmHook, given)
}

// helmEvent is what one of Helm's events is here.
type helmEvent struct {
	phase            Phase
	install, upgrade bool
	leftOut          string
}

var helmEvents = map[string]helmEvent{
	"pre-install":  {phase: PreSync, install: true},
	"pre-upgrade":  {phase: PreSync, upgrade: true},
	"post-install": {phase: PostSync, install: true},
	"post-upgrade": {phase: PostSync, upgrade: true},
	// Of Helm 2: a definition, which is delivered first anyway.
	"crd-install":   {},
	"test":          {leftOut: "is a test"},
	"test-success":  {leftOut: "is a test"},
	"test-failure":  {leftOut: "is a test"},
	"pre-delete":    {leftOut: "is a pre-delete hook, and nothing runs when an application is deleted"},
	"post-delete":   {leftOut: "is a post-delete hook, and nothing runs when an application is deleted"},
	"pre-rollback":  {leftOut: "is a pre-rollback hook, and a rollback delivers an earlier content like any other"},
	"post-rollback": {leftOut: "is a post-rollback hook, and a rollback delivers an earlier content like any other"},
}

// take makes the object a hook of the phases that were given.
func (m *Mark) take(name string, given []Phase) error {
	m.Hook, m.Phase = true, given[0]
	for _, p := range given[1:] {
		switch {
		case p == m.Phase:
		case p == SyncFail && m.Phase == PostSync, p == PostSync && m.Phase == SyncFail:
			m.Phase, m.OnFailure = PostSync, true
		default:
			return fmt.Errorf("%s: %s and %s would run one object twice for each content: write it twice, under two names", name, m.Phase, p)
		}
	}
	return nil
}

func (m *Mark) readWave(get lookup) error {
	order := []string{v1alpha1.AnnotationWave, argoWave}
	if _, helm := get(HelmHook); helm {
		order = append(order, helmWeight)
	}
	for _, name := range order {
		text, ok := get(name)
		if !ok {
			continue
		}
		wave, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
		if err != nil {
			return fmt.Errorf(`%s: %q is no whole number, such as "-1" or "2"`, name, clip(text))
		}
		m.Wave = int32(wave)
		return nil
	}
	return nil
}

func (m *Mark) readDeletion(get lookup) error {
	name, text, ok := argoDelete, "", false
	if text, ok = get(name); !ok {
		name = helmDelete
		text, _ = get(name)
	}
	for _, word := range split(text) {
		switch strings.ToLower(strings.ReplaceAll(word, "-", "")) {
		case "beforehookcreation":
			m.Deletion.BeforeCreation = true
		case "hooksucceeded":
			m.Deletion.Succeeded = true
		case "hookfailed":
			m.Deletion.Failed = true
		default:
			return fmt.Errorf("%s: %q is none of %s", name, clip(word), policies[name])
		}
	}
	if m.Deletion == (Deletion{}) {
		m.Deletion.BeforeCreation = true
	}
	return nil
}

var policies = map[string]string{
	argoDelete: "BeforeHookCreation, HookSucceeded and HookFailed",
	helmDelete: "before-hook-creation, hook-succeeded and hook-failed",
}

// split reads a list separated by commas.
func split(text string) []string {
	var words []string
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// clip keeps what a person needs to find the word again.
func clip(word string) string {
	const most = 64
	if len(word) > most {
		return strings.ToValidUTF8(word[:most], "") + "…"
	}
	return word
}
