package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/api/v1alpha1"
)

// script is what one seed does: pure, so the same seed is the same script.
type script struct {
	members    int
	operations []operation
}

// operation is one thing done to the fleet, after a pause.
type operation struct {
	Do     string
	Pause  time.Duration
	App    appID
	Member int
	// State is what the application is to be, of intent's operations.
	State appState
	// Condition tells more of a fault.
	Condition string
}

// appID names an application; projects have applications of the same names.
type appID struct{ Project, Name string }

// appState is what is asked of an application.
type appState struct {
	Exists   bool
	Members  []int
	OnDelete v1alpha1.DeletionPolicy
	Extras   int
	// Content counts the changes of what is delivered, over the whole seed.
	Content int
}

func (o operation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "+%-6s %s", o.Pause, o.Do)
	if o.App != (appID{}) {
		fmt.Fprintf(&b, " %s/%s", o.App.Project, o.App.Name)
	}
	if s := o.State; s.Exists {
		fmt.Fprintf(&b, " to content %d with %d extras on %v, onDelete %s", s.Content, s.Extras, s.Members, s.OnDelete)
	}
	if o.Member >= 0 {
		fmt.Fprintf(&b, " member %d", o.Member)
	}
	if o.Condition != "" {
		b.WriteString(" " + o.Condition)
	}
	return b.String()
}

// dice makes a script. It keeps what is asked and what is broken, so that every
// operation has something to act on.
type dice struct {
	*rand.Rand
	script   script
	apps     map[appID]appState
	made     map[string]int // applications so far, by project
	content  int
	hubDown  int // operations until the hub is started again, 0 when it runs
	stopped  map[int]bool
	murdered bool
}

// generate makes n operations of a seed.
func generate(seed, n int) script {
	d := &dice{
		Rand: rand.New(rand.NewPCG(uint64(seed), 0x61746f6c6c)), //nolint:gosec // chance that repeats is what is wanted
		apps: map[appID]appState{}, made: map[string]int{}, stopped: map[int]bool{},
	}
	d.script.members = 3 + d.IntN(4)
	for _, project := range []string{"left", "right"} {
		d.create(project)
	}
	for len(d.script.operations) < n {
		d.next()
	}
	return d.script
}

func (d *dice) next() {
	if d.hubDown > 0 {
		if d.hubDown--; d.hubDown == 0 {
			d.add(operation{Do: "start the hub", Member: -1})
			return
		}
		d.harm()
		return
	}
	switch d.IntN(10) {
	case 0, 1, 2, 3, 4:
		d.intend()
	case 5, 6, 7, 8:
		d.harm()
	default:
		d.hubDown = 1 + d.IntN(4)
		d.add(operation{Do: "kill the hub", Member: -1})
	}
}

func (d *dice) add(o operation) {
	if d.IntN(3) > 0 {
		o.Pause = time.Duration(d.IntN(60)) * 10 * time.Millisecond
	}
	d.script.operations = append(d.script.operations, o)
}

// intend asks for something of an application.
func (d *dice) intend() {
	id, ok := d.anApp()
	if !ok || d.IntN(5) == 0 {
		d.create([]string{"left", "right"}[d.IntN(2)])
		return
	}
	s := d.apps[id]
	s.Members = slices.Clone(s.Members)
	do := "change"
	switch d.IntN(6) {
	case 0, 1:
		d.content++
		s.Content, s.Extras = d.content, d.IntN(4)
	case 2:
		do = "widen"
		if free := d.others(s.Members); len(free) > 0 {
			s.Members = append(s.Members, free[d.IntN(len(free))])
			slices.Sort(s.Members)
		}
	case 3:
		do = "narrow"
		if len(s.Members) > 1 {
			i := d.IntN(len(s.Members))
			s.Members = slices.Delete(s.Members, i, i+1)
		}
	case 4:
		do = "turn"
		s.OnDelete = map[v1alpha1.DeletionPolicy]v1alpha1.DeletionPolicy{v1alpha1.Orphan: v1alpha1.Delete, v1alpha1.Delete: v1alpha1.Orphan}[s.OnDelete]
	default:
		do, s.Exists = "delete", false
	}
	d.apps[id] = s
	d.add(operation{Do: do, App: id, State: s, Member: -1})
}

func (d *dice) create(project string) {
	d.content++
	d.made[project]++
	members := d.Perm(d.script.members)[:1+d.IntN(d.script.members)]
	slices.Sort(members)
	policy := []v1alpha1.DeletionPolicy{v1alpha1.Orphan, v1alpha1.Delete}[d.IntN(2)]
	id := appID{project, fmt.Sprintf("app-%d", d.made[project])}
	s := appState{Exists: true, Members: members, OnDelete: policy, Extras: d.IntN(4), Content: d.content}
	d.apps[id] = s
	d.add(operation{Do: "create", App: id, State: s, Member: -1})
}

func (d *dice) anApp() (appID, bool) {
	var all []appID
	for id, s := range d.apps {
		if s.Exists {
			all = append(all, id)
		}
	}
	if len(all) == 0 {
		return appID{}, false
	}
	slices.SortFunc(all, func(a, b appID) int { return strings.Compare(a.Project+"/"+a.Name, b.Project+"/"+b.Name) })
	return all[d.IntN(len(all))], true
}

func (d *dice) others(members []int) []int {
	var out []int
	for m := range d.script.members {
		if !slices.Contains(members, m) {
			out = append(out, m)
		}
	}
	return out
}

// harm is a fault of one member, its link or its agent, or somebody's hand.
func (d *dice) harm() {
	m := d.IntN(d.script.members)
	switch d.IntN(8) {
	case 0, 1:
		id, ok := d.anApp()
		if !ok {
			return
		}
		s := d.apps[id]
		d.add(operation{Do: []string{"edit", "remove"}[d.IntN(2)], App: id, Member: s.Members[d.IntN(len(s.Members))]})
	case 2:
		do := "stop the agent of"
		if d.stopped[m] {
			do = "start the agent of"
		}
		d.stopped[m] = !d.stopped[m]
		d.add(operation{Do: do, Member: m})
	case 3:
		// A killed agent's Lease has to run out, which takes its time.
		if d.murdered || d.stopped[m] {
			return
		}
		d.murdered = true
		d.add(operation{Do: "kill and start the agent of", Member: m})
	case 4, 5:
		d.add(operation{Do: "link of", Member: m, Condition: []string{"open", "hangs", "is reset", "is slow"}[d.IntN(4)]})
	default:
		d.add(operation{Do: "API of", Member: m, Condition: []string{"is well", "is down", "is slow", "loses answers", "refuses", "stores no Secrets", "has a chunk damaged"}[d.IntN(7)]})
	}
}

// TestASeedIsAScript: without that no failure could be repeated.
func TestASeedIsAScript(t *testing.T) {
	done := map[string]bool{}
	for seed := range 200 {
		one := generate(seed, steps)
		if diff := cmp.Diff(one.operations, generate(seed, steps).operations); diff != "" {
			t.Fatalf("seed %d makes two scripts:\n%s", seed, diff)
		}
		for _, o := range one.operations {
			done[o.Do+o.Condition] = true
		}
	}
	if len(done) != 24 {
		t.Errorf("200 seeds do %d kinds of things, want all 24", len(done))
	}
}
