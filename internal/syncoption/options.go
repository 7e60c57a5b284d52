package syncoption

import (
	"errors"
	"fmt"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/drift"
)

// The annotations of others.
const (
	argoOptions = "argocd.argoproj.io/sync-options"
	argoForce   = "Force=true"
	helmPolicy  = "helm.sh/resource-policy"
	fluxPrune   = "kustomize.toolkit.fluxcd.io/prune"
	fluxForce   = "kustomize.toolkit.fluxcd.io/force"
)

// Keep says when an object stays that is no longer asked for.
type Keep uint8

// When an object stays; the zero value is never.
const (
	// WhenPruned: the application goes on without the object.
	WhenPruned Keep = 1 << iota
	// WhenWithdrawn: the application is deleted or leaves the cluster.
	WhenWithdrawn

	always = WhenPruned | WhenWithdrawn
)

// Options are what one manifest says of its object.
type Options struct {
	Keep Keep
	// Ignore are the fields that others may change.
	Ignore drift.Paths
	// Recreate has the object deleted and made anew where it cannot be changed.
	Recreate bool
	// Missed are sync options of Argo CD that are not done here.
	Missed []string
}

// Of reads the annotations of a manifest. An error names the annotation and what
// it may be.
func Of(manifest map[string]any) (Options, error) {
	metadata, _ := manifest["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if len(annotations) == 0 {
		return Options{}, nil
	}
	o := Options{Keep: KeptLive(manifest)}
	err := errors.Join(eitherWay(annotations, v1alpha1.AnnotationPrune), eitherWay(annotations, v1alpha1.AnnotationRecreate))
	if text, ok := annotations[v1alpha1.AnnotationIgnore].(string); ok {
		var bad error
		o.Ignore, bad = ignored(text)
		err = errors.Join(err, bad)
	}
	text, _ := annotations[argoOptions].(string)
	for _, option := range split(text) {
		_, keeps := argoKeeps[option]
		switch {
		case option == argoForce:
			o.Recreate = true
		case !keeps && !Inert(option):
			o.Missed = append(o.Missed, clip(option))
		}
	}
	o.Recreate = o.Recreate || annotations[fluxForce] == "enabled"
	if ours, said := annotations[v1alpha1.AnnotationRecreate]; said {
		o.Recreate = ours == "enabled"
	}
	if err != nil {
		return Options{}, err
	}
	return o, nil
}

// eitherWay refuses an annotation of ours that is none of its two words.
func eitherWay(annotations map[string]any, name string) error {
	if text, ok := annotations[name].(string); ok && text != "disabled" && text != "enabled" {
		return fmt.Errorf("%s: %q is neither disabled nor enabled", name, clip(text))
	}
	return nil
}

// KeptLive reads of an object as it lives when it stays, whatever else it says.
func KeptLive(object map[string]any) Keep {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	switch annotations[v1alpha1.AnnotationPrune] {
	case "disabled":
		return always
	case "enabled":
		return 0 // ours wins
	}
	var keep Keep
	text, _ := annotations[argoOptions].(string)
	for _, option := range split(text) {
		keep |= argoKeeps[option]
	}
	if policy, _ := annotations[helmPolicy].(string); strings.EqualFold(strings.TrimSpace(policy), "keep") {
		keep = always
	}
	if annotations[fluxPrune] == "disabled" {
		keep = always
	}
	return keep
}

// argoKeeps are Argo CD's options that keep an object. Where it asks a person first,
// the object stays: a person can delete it.
var argoKeeps = map[string]Keep{
	"Prune=false": WhenPruned, "Prune=confirm": WhenPruned,
	"Delete=false": WhenWithdrawn, "Delete=confirm": WhenWithdrawn,
}

// Inert reports whether a sync option of Argo CD asks for what is done anyway.
func Inert(option string) bool {
	switch option {
	case "CreateNamespace=true", "ServerSideApply=true", "ApplyOutOfSyncOnly=true", "RespectIgnoreDifferences=true", "FailOnSharedResource=true",
		"SkipDryRunOnMissingResource=true", "Validate=true", "PruneLast=true", "Prune=true", "Delete=true", "Force=false", "Replace=false":
		return true
	}
	return false
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
