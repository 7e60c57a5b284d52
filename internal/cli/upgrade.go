package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/upgrade"
	"atoll.dev/atoll/internal/version"
)

func newUpgrade(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "upgrade",
		Short:   "Upgrade the agents of clusters",
		Example: `  atoll upgrade agents --plan`,
		Args:    unknownVerb,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUpgradeAgents(c))
	return cmd
}

type upgradeOptions struct {
	to, version, clusters, waves string
	soak, timeout                time.Duration
	plan, rollBack               bool
}

func newUpgradeAgents(c *console) *cobra.Command {
	o := upgradeOptions{}
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "Upgrade clusters' agents in waves, and halt at the first that fails",
		Long: `Upgrade clusters' agents in waves, and halt at the first that fails.

In each cluster the new agent starts beside the old one and takes over once it has
reached the hub. If it does not, the old one puts its own image back, without the
hub if need be. A wave in which one fails is rolled back whole, and no other begins.
Run it again to go on: what runs the image is done, and clusters that were away
are taken then.`,
		Example: `  atoll upgrade agents --plan
  atoll upgrade agents --version v1.2.0 --clusters stage=staging
  atoll upgrade agents --to registry.example.org/atoll-agent:v1.2.0 --wave 1,10%,100% --soak 5m`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.upgradeAgents(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "image of the agent (default: that of this program's version)")
	f.StringVar(&o.version, "version", "", "tag for the image that each cluster has, instead of --to")
	f.StringVarP(&o.clusters, "clusters", "l", "", "only clusters with these labels, such as stage=staging")
	f.StringVar(&o.waves, "wave", "1,10%,100%", "how many clusters, or which share, are done after each")
	f.DurationVar(&o.soak, "soak", 30*time.Second, "how long a wave must stay connected before the next begins")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long for each wave")
	f.BoolVar(&o.plan, "plan", false, "print the waves and change nothing")
	f.BoolVar(&o.rollBack, "roll-back", true, "bring a wave back in which a cluster fails")
	return cmd
}

// image is what a cluster's agent should run.
func (o upgradeOptions) image(cl v1alpha1.Cluster) string {
	switch {
	case o.version != "":
		return upgrade.Retag(cl.Status.Facts.Agent.Image, o.version)
	case o.to != "":
		return o.to
	}
	return version.AgentImage()
}

func (c *console) upgradeAgents(ctx context.Context, o upgradeOptions) error {
	if o.to != "" && o.version != "" {
		return wrong("--to names an image and --version only its tag; give one of them")
	}
	if o.soak < 0 || o.timeout <= 0 {
		return wrong("--soak and --timeout are times that pass, such as 30s and 5m")
	}
	steps, err := upgrade.ParseSteps(o.waves)
	if err != nil {
		return wrong("--wave: %v", err)
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	clusters, err := fetchAll[v1alpha1.Cluster](ctx, h, clusterKind, "", metav1.ListOptions{LabelSelector: o.clusters})
	if err != nil {
		return err
	}
	u := &upgrading{console: c, hub: h, o: o, attempt: time.Now().UTC().Format(time.RFC3339), before: map[string]v1alpha1.Cluster{}}
	for _, cl := range clusters {
		u.before[cl.Name] = cl
	}
	plan := upgrade.Make(clusters, o.image, steps)
	u.describe(plan)
	if o.plan {
		return nil
	}
	for i, wave := range plan.Waves {
		c.say("wave %d of %d: %s", i+1, len(plan.Waves), strings.Join(wave, ", "))
		if err := u.wave(ctx, wave); err != nil {
			return err
		}
	}
	if len(plan.Skipped) > 0 {
		return &codedError{code: exitPartial}
	}
	return nil
}

// describe prints what would happen.
func (u *upgrading) describe(p upgrade.Plan) {
	for i, wave := range p.Waves {
		for _, name := range wave {
			cl := u.before[name]
			u.print("wave %d   %s   %s → %s", i+1, name, cl.Status.Facts.Agent.Image, u.o.image(cl))
		}
	}
	for _, name := range p.Done {
		u.print("done     %s   runs %s", name, u.before[name].Status.Facts.Agent.Image)
	}
	for _, s := range p.Skipped {
		u.print("skipped  %s   %s", s.Cluster, s.Why)
	}
	for _, name := range p.Left {
		u.print("left     %s   beyond the last wave", name)
	}
	if len(u.before) == 0 {
		u.say("no cluster matches")
	}
}

// upgrading is one run over the fleet.
type upgrading struct {
	*console
	hub     *hub
	o       upgradeOptions
	attempt string
	before  map[string]v1alpha1.Cluster
}

func (u *upgrading) wish(ctx context.Context, name, image, attempt string) error {
	return u.hub.merge(ctx, clusterKind, "", name, map[string]any{"spec": map[string]any{"agent": map[string]any{"image": image, "attempt": attempt}}})
}

// wave upgrades some clusters at once and waits until they have stood the soak.
func (u *upgrading) wave(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := u.wish(ctx, name, u.o.image(u.before[name]), u.attempt); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, u.o.timeout)
	defer cancel()
	done := map[string]bool{}
	failed := u.await(limited, names, func(cl v1alpha1.Cluster) (bool, error) {
		ok, err := became(cl, u.o.image(u.before[cl.Name]), u.attempt)
		if ok && !done[cl.Name] {
			done[cl.Name] = true
			u.print("%s runs %s", clusterKind.ref(cl.Name), cl.Status.Facts.Agent.Image)
		}
		return ok, err
	})
	if failed == nil && u.o.soak > 0 {
		failed = u.soak(ctx, names)
	}
	if failed == nil || ctx.Err() != nil {
		return failed
	}
	u.say("halted: %v", failed)
	if !u.o.rollBack {
		return &codedError{code: exitPartial}
	}
	return u.back(ctx, names)
}

// became tells whether a cluster's agent is the one asked for, or why it will
// not be.
func became(cl v1alpha1.Cluster, image, attempt string) (bool, error) {
	facts := cl.Status.Facts
	if facts == nil || facts.Agent == nil {
		return false, nil
	}
	if up := facts.Agent.Upgrade; up != nil && up.Attempt == attempt && (up.State == v1alpha1.UpgradeRolledBack || up.State == v1alpha1.UpgradeRefused) {
		return false, fmt.Errorf("cluster %s: %s: %s", cl.Name, up.State, up.Message)
	}
	return facts.Agent.Image == image && cl.Status.Connection.State == v1alpha1.Connected, nil
}

// await looks until all are as wanted, one says why it cannot be, or time is up.
func (u *upgrading) await(ctx context.Context, names []string, ready func(v1alpha1.Cluster) (bool, error)) error {
	for {
		waiting := ""
		for _, name := range names {
			cl, err := u.hub.cluster(ctx, name)
			if err != nil {
				return err
			}
			ok, err := ready(*cl)
			if err != nil {
				return err
			}
			if !ok {
				waiting = name
			}
		}
		if waiting == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster %s did not get there in time: %w", waiting, ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

// soak holds the wave for a while and finds what fell away in it.
func (u *upgrading) soak(ctx context.Context, names []string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(u.o.soak):
	}
	return u.await(ctx, names, func(cl v1alpha1.Cluster) (bool, error) {
		if ok, err := became(cl, u.o.image(u.before[cl.Name]), u.attempt); err != nil || !ok {
			return false, fmt.Errorf("cluster %s did not stand the soak: it is %s", cl.Name, cl.Status.Connection.State)
		}
		return true, nil
	})
}

// back wishes for the images that the wave's clusters had before.
func (u *upgrading) back(ctx context.Context, names []string) error {
	for _, name := range names {
		former := u.before[name].Status.Facts.Agent.Image
		if err := u.wish(ctx, name, former, u.attempt+" back"); err != nil {
			return err
		}
		u.print("%s goes back to %s", clusterKind.ref(name), former)
	}
	limited, cancel := context.WithTimeout(ctx, u.o.timeout)
	defer cancel()
	err := u.await(limited, names, func(cl v1alpha1.Cluster) (bool, error) {
		return became(cl, u.before[cl.Name].Status.Facts.Agent.Image, u.attempt+" back")
	})
	if err != nil {
		u.say("not all of the wave is back: %v", err)
	}
	return &codedError{code: exitPartial}
}
