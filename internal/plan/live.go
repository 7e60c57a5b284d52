package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/marks"
	"atoll.dev/atoll/internal/report"
)

// Finding is something about an object that only members know.
type Finding struct {
	Kind     FindingKind      `json:"kind"`
	Ref      report.ObjectRef `json:"ref"`
	Clusters []string         `json:"clusters"`
	Message  string           `json:"message,omitempty"`
	// Changes are the fields that drifted, from what is live to what is asked.
	Changes []report.Change `json:"changes,omitempty"`
}

// FindingKind is what was found.
type FindingKind string

// The kinds, in the order in which they are told.
const (
	// FoundConflict: it is there and not Atoll's; where the manifest says otherwise
	// of a field that somebody holds, it would be refused.
	FoundConflict FindingKind = "Conflict"
	// FoundOwned: another tool, or another application, keeps it.
	FoundOwned FindingKind = "OwnedBy"
	// FoundAdoption: it is there, and would be taken over.
	FoundAdoption FindingKind = "Adoption"
	// FoundMissing: it would be changed or deleted, and is not there.
	FoundMissing FindingKind = "Missing"
	// FoundDrift: it is not now as it is asked for now.
	FoundDrift FindingKind = "Drifted"
)

var findingOrder = []FindingKind{FoundConflict, FoundOwned, FoundAdoption, FoundMissing, FoundDrift}

// Meet holds an object of a class against the live one of a cluster, nil where
// there is none. It finds nothing where the change would just be made.
func (p *Plan) Meet(o Object, adopt bool, live *unstructured.Unstructured) (Finding, bool) {
	f := Finding{Ref: o.Ref}
	switch {
	case live == nil && o.Action == Create, o.Action == Keep: // which is let go of, whoever has it now
		return f, false
	case live == nil:
		f.Kind, f.Message = FoundMissing, map[Action]string{
			Change: "it is not there any more, and would be made anew", Delete: "it is gone already",
		}[o.Action]
		return f, true
	case o.Action == Delete:
		return f, false // by its UID, or not at all
	}
	return p.meetLive(f, adopt, live)
}

func (p *Plan) meetLive(f Finding, adopt bool, live *unstructured.Unstructured) (Finding, bool) {
	own, others, people := p.holders(live)
	tool, do := marks.Reconciler(live)
	switch {
	case tool != "" && len(people) > 0:
		f.Kind, f.Message = FoundOwned, tool+" reconciles it: "+do
	case len(others) > 0:
		f.Kind, f.Message = FoundOwned, "application "+strings.Join(others, " and ")+" keeps it there"
	case own:
		return f, false
	case adopt:
		f.Kind, f.Message = FoundAdoption, "it is there already"+by(live, people)+", and would be taken over"
	default:
		f.Kind, f.Message = FoundConflict, "it is there already"+by(live, people)+", and not Atoll's: it is refused where it says otherwise; spec.adopt takes it over"
	}
	return f, true
}

// holders are who has fields of a live object: the application itself, others of
// Atoll's, and all the rest.
func (p *Plan) holders(live *unstructured.Unstructured) (own bool, others, people []string) {
	for _, manager := range marks.Managers(live) {
		switch application, ours := marks.Ours(manager); {
		case !ours:
			people = append(people, manager)
		case application == p.Project+"/"+p.Application:
			own = true
		default:
			others = append(others, application)
		}
	}
	return own, others, people
}

func by(live *unstructured.Unstructured, people []string) string {
	if owner := metav1.GetControllerOf(live); owner != nil {
		return ", made by " + owner.Kind + " " + owner.Name
	}
	if len(people) == 0 {
		return ""
	}
	return ", by " + strings.Join(people[:min(len(people), 3)], ", ")
}

// Found adds what was found on clusters, those with the same together.
func (p *Plan) Found(cluster string, findings ...Finding) {
	for _, f := range findings {
		key := f.key()
		i := slices.IndexFunc(p.Live, func(k Finding) bool { return k.key() == key })
		if i < 0 {
			f.Clusters = nil
			i, p.Live = len(p.Live), append(p.Live, f)
		}
		p.Live[i].Clusters = append(p.Live[i].Clusters, cluster)
	}
}

// SortLive orders what was found, however the members' answers came.
func (p *Plan) SortLive() {
	for i := range p.Live {
		slices.Sort(p.Live[i].Clusters)
	}
	slices.SortFunc(p.Live, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(findingOrder, a.Kind), slices.Index(findingOrder, b.Kind)),
			cmp.Compare(a.Ref.String(), b.Ref.String()), slices.Compare(a.Clusters, b.Clusters))
	})
}

// key is the same for what is the same but for where and when.
func (f Finding) key() string {
	f.Clusters = nil
	f.Changes = slices.Clone(f.Changes)
	for i := range f.Changes {
		f.Changes[i].At = 0
	}
	data, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprintf("a finding cannot be written as JSON: %v", err)) // it is plain data
	}
	return string(data)
}

// Unsaid adds a cluster of which a part is not known, for the reason given.
func (p *Plan) Unsaid(cluster, message string) {
	i := slices.IndexFunc(p.Unknown, func(u Unknown) bool { return u.Message == message })
	if i < 0 {
		i, p.Unknown = len(p.Unknown), append(p.Unknown, Unknown{Message: message})
	}
	if cluster != "" && !slices.Contains(p.Unknown[i].Clusters, cluster) {
		p.Unknown[i].Clusters = append(p.Unknown[i].Clusters, cluster)
	}
}
