package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/recovery"
)

type recoverOptions struct {
	write  bool
	prefer string
	output string
}

func newRecover(c *console) *cobra.Command {
	o := recoverOptions{}
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "After the loss of a hub: what the agents run that this hub does not know",
		Long: `Ask the agents of a hub that was rebuilt, or restored, what they run and it does not
know: projects, applications, where, and with which content. Nothing is changed.

With --write the projects and applications are made again, with the very content
that runs and for the clusters that run it, by name. Every cluster keeps what it
has even so (HubOlderThanAgent) until atoll accept NAME --incarnation; after that
nothing restarts, for it is asked for what it runs. What was known before stays as
it is, and clusters that come later are added by running it again.

Where clusters run different versions of an application, or know different bounds
of a project, nothing is made of it, unless --prefer names the cluster that is right:
the others change to that when they follow. An application is made with onDelete
Orphan. Values of Secrets do not leave the members: the clusters that have them go
on with them, and others get them when the same manifests are deployed again.

Exit code 1 tells that something is not clear, 3 that clusters did not answer.`,
		Example: `  atoll recover
  atoll recover --write
  atoll recover --write --prefer us-east-1
  atoll recover -o yaml`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.recover(cmd.Context(), o) },
	}
	cmd.Flags().BoolVar(&o.write, "write", false, "make the projects and applications that are clear")
	cmd.Flags().StringVar(&o.prefer, "prefer", "", "the cluster that is right where clusters differ")
	_ = cmd.RegisterFlagCompletionFunc("prefer", c.completeNames(clusterKind))
	addOutput(cmd, &o.output)
	return cmd
}

func (c *console) recover(ctx context.Context, o recoverOptions) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	if _, err := h.knownCluster(ctx, o.prefer); err != nil {
		return err
	}
	known, err := h.known(ctx)
	if err != nil {
		return err
	}
	memories, silent, err := h.memories(ctx, known.Clusters)
	if err != nil {
		return err
	}
	plan := recovery.Make(memories, known, o.prefer)
	if err := c.showRecovery(plan, memories, o); err != nil {
		return err
	}
	if o.write {
		if err := c.writeRecovery(ctx, h, plan); err != nil {
			return err
		}
	}
	if err := c.silent(silent); err != nil {
		return err
	}
	if !plan.Complete() {
		return no()
	}
	return nil
}

func (h *hub) known(ctx context.Context) (recovery.Known, error) {
	var k recovery.Known
	var err error
	if k.Clusters, err = fetchAll[v1alpha1.Cluster](ctx, h, clusterKind, "", metav1.ListOptions{}); err != nil {
		return k, err
	}
	if k.Projects, err = fetchAll[v1alpha1.Project](ctx, h, projectKind, "", metav1.ListOptions{}); err != nil {
		return k, err
	}
	k.Applications, err = fetchAll[v1alpha1.Application](ctx, h, applicationKind, "", metav1.ListOptions{})
	return k, err
}

// askedAtOnce bounds how many agents are asked at a time.
const askedAtOnce = 16

// memories are what the clusters' agents tell, in the clusters' order; the error
// is that this person may not ask.
func (h *hub) memories(ctx context.Context, clusters []v1alpha1.Cluster) (told []recovery.Memory, silent []fleet.Silence, err error) {
	answers, failures := make([]*recovery.Memory, len(clusters)), make([]error, len(clusters))
	room := make(chan struct{}, askedAtOnce)
	var wg sync.WaitGroup
	for i := range clusters {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			answers[i], failures[i] = h.fleet.Memory(ctx, clusters[i].Name)
		})
	}
	wg.Wait()
	for i := range clusters {
		switch {
		case apierrors.IsForbidden(failures[i]):
			return nil, nil, failures[i]
		case failures[i] != nil:
			silent = append(silent, fleet.Silence{Cluster: clusters[i].Name, Reason: sentence(failures[i])})
		default:
			told = append(told, *answers[i])
		}
	}
	return told, silent, nil
}

// writeRecovery makes what is clear. Content comes first: an application must not
// be refused for want of it.
func (c *console) writeRecovery(ctx context.Context, h *hub, plan recovery.Plan) error {
	a := applier{hub: h}
	var failures []error
	made := func(k kind, o runtime.Object) {
		m, err := manifestFor(k, o)
		if err == nil {
			var done string
			if done, err = a.apply(ctx, m); err == nil {
				c.print("%s %s", k.ref(m.object.GetName()), done)
			}
		}
		failures = append(failures, err)
	}
	for _, p := range plan.Projects {
		if p.Object != nil {
			made(projectKind, p.Object)
		}
	}
	for _, app := range plan.Applications {
		if app.Object == nil {
			continue
		}
		content := recovery.Request{Project: app.Key.Project, Content: app.Content()}
		if _, err := h.fleet.Recollect(ctx, app.From, content); err != nil {
			failures = append(failures, fmt.Errorf("take the content of %s from cluster %s: %w", app.Key, app.From, err))
			continue
		}
		made(applicationKind, app.Object)
	}
	return c.refuse(errors.Join(failures...))
}

// manifestFor is one of our objects as a person would apply it.
func manifestFor(k kind, o runtime.Object) (manifest, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return manifest{}, fmt.Errorf("write %s: %w", k.singular(), err)
	}
	u := &unstructured.Unstructured{Object: fields}
	delete(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	return manifest{object: u, kind: k, origin: "recovered"}, nil
}
