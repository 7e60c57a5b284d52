package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/plan"
)

// How much a plan asks of members at once, and for how long: what was not
// answered until then is named.
const (
	membersAtOnce = 8
	objectsAtOnce = 8
	liveWithin    = 2 * time.Minute
	memberWithin  = 45 * time.Second
)

// live asks the members of the plans what they have now: the agents, how what
// they keep differs from what is asked for; and as the caller, whether objects
// that would come are there, and those that would change or go are not.
type live struct {
	*console
	hub   *hub
	plans []plan.Plan
	mu    sync.Mutex // guards plans
}

func (c *console) planLive(ctx context.Context, answer *fleet.PlanAnswer) error {
	h, err := c.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, liveWithin)
	defer cancel()
	l := &live{console: c, hub: h, plans: answer.Plans}
	var all errgroup.Group
	all.SetLimit(membersAtOnce)
	for i := range l.plans {
		all.Go(func() error { l.drift(ctx, &l.plans[i]); return nil })
	}
	work := l.inquiries()
	for _, cluster := range slices.Sorted(maps.Keys(work)) {
		all.Go(func() error { l.ask(ctx, cluster, work[cluster]); return nil })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for i := range l.plans {
		l.plans[i].SortLive()
		for j := range l.plans[i].Unknown {
			slices.Sort(l.plans[i].Unknown[j].Clusters)
		}
	}
	return nil
}

// inquiry is about an object of one plan on one cluster.
type inquiry struct {
	of     *plan.Plan
	object plan.Object
	adopt  bool
}

// inquiries are those of all plans by cluster.
func (l *live) inquiries() map[string][]inquiry {
	work := map[string][]inquiry{}
	for i := range l.plans {
		p := &l.plans[i]
		for _, class := range p.Classes {
			more := class.Deleted + class.Changed + class.Created + class.Kept - len(class.Objects)
			for _, cluster := range class.Clusters {
				for _, o := range class.Objects {
					work[cluster] = append(work[cluster], inquiry{of: p, object: o, adopt: class.Adopt})
				}
				if more > 0 {
					p.Unsaid(cluster, fmt.Sprintf("what is live: asked for the first %d objects of the change only", plan.MaxObjects))
				}
			}
		}
	}
	return work
}

// drift is by the agents' own words; an application that is not there yet has none.
func (l *live) drift(ctx context.Context, p *plan.Plan) {
	d, err := l.hub.fleet.Diff(ctx, p.Project, p.Application, "")
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case apierrors.IsNotFound(err):
		return
	case err != nil:
		p.Unsaid("", "what drifted: "+err.Error())
		return
	}
	for _, s := range d.Silent {
		p.Unsaid(s.Cluster, "what drifted: "+s.Reason)
	}
	for _, c := range d.Clusters {
		for _, o := range c.Objects {
			p.Found(c.Cluster, plan.Finding{Kind: plan.FoundDrift, Ref: o.Ref, Message: fallback(o.Message, diffMarks[o.Action].words), Changes: o.Changes})
		}
	}
}

// ask asks one member. What it does not answer is said of each plan once.
func (l *live) ask(ctx context.Context, cluster string, inquiries []inquiry) {
	ctx, cancel := context.WithTimeout(ctx, memberWithin)
	defer cancel()
	m, err := l.reach(ctx, cluster)
	if err != nil {
		// Its words, whatever its kind: who may not enter is told why.
		l.unsaid(ctx, cluster, inquiries, errors.New(err.Error()))
		return
	}
	var group errgroup.Group
	group.SetLimit(objectsAtOnce)
	for _, q := range inquiries {
		group.Go(func() error {
			if err := l.askOne(ctx, m, q); err != nil {
				l.unsaid(ctx, cluster, []inquiry{q}, err)
			}
			return nil
		})
	}
	_ = group.Wait() // each said what it has to
}

// reach is the API of a cluster, or the hub's own for what is delivered there.
func (l *live) reach(ctx context.Context, cluster string) (*memberCalls, error) {
	if cluster == placement.Hub {
		return memberOf(cluster, rest.CopyConfig(l.hub.config))
	}
	return l.member(ctx, cluster)
}

func (l *live) unsaid(ctx context.Context, cluster string, inquiries []inquiry, err error) {
	message := "what is live: " + err.Error()
	switch {
	case ctx.Err() != nil:
		message = "what is live: no answer in time"
	case apierrors.IsForbidden(err):
		message = "what is live: you may not read all of it there; that cluster's own RBAC would have to let you get the objects"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range inquiries {
		q.of.Unsaid(cluster, message)
	}
}

// askOne reads the object as the caller. A kind that the member does not serve
// has no objects there.
func (l *live) askOne(ctx context.Context, m *memberCalls, q inquiry) error {
	resource, err := m.of(q.object.Ref)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	there, err := resource.Get(ctx, q.object.Ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		there, err = nil, nil
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := q.of.Meet(q.object, q.adopt, there); ok {
		q.of.Found(m.name, f)
	}
	return nil
}
