package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

func newWait(c *console) *cobra.Command {
	var wants []string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait app/NAME|cluster/NAME --for=synced,healthy",
		Short: "Wait until an application or a cluster is as it should be",
		Long: `Wait for every state named in --for, of this very generation.

Applications: accepted, placed, synced, healthy, ready, deleted.
Clusters: accepted, joined, connected, ready, deleted.

When time is up, what blocks is explained on stderr and the exit code is 1.`,
		Example: `  atoll wait app/shop --for=synced,healthy --timeout 5m
  atoll wait cluster/us-east-1 --for=connected
  atoll wait app/shop --for=deleted`,
		Args:              someArgs("app/NAME or cluster/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.wait(cmd.Context(), args, wants, timeout)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&wants, "for", nil, "states to wait for (default synced,healthy or connected)")
	f.DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"accepted", "placed", "synced", "healthy", "ready", "connected", "joined", "deleted"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// target is one object that is waited for.
type target struct {
	kind    kind
	project string
	name    string
}

func (t target) String() string { return t.kind.word + "/" + t.name }

var waitable = map[string][]string{
	applicationKind.name: {"accepted", "placed", "synced", "healthy", "ready", "deleted"},
	clusterKind.name:     {"accepted", "joined", "connected", "ready", "deleted"},
}

func (c *console) wait(ctx context.Context, args, wants []string, timeout time.Duration) error {
	kinds, err := waitKinds(args)
	if err != nil {
		return err
	}
	if len(wants) == 0 {
		wants = map[string][]string{applicationKind.name: {"synced", "healthy"}, clusterKind.name: {"connected"}}[kinds[0].name]
	}
	for i, want := range wants {
		wants[i] = strings.ToLower(strings.TrimSpace(want))
		for _, k := range kinds {
			if err := oneOf("for", wants[i], waitable[k.name]...); err != nil {
				return err
			}
		}
	}
	if timeout <= 0 {
		return wrong("--timeout must be longer than nothing")
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	targets, err := h.targets(ctx, kinds, args, wants)
	if err != nil {
		return err
	}
	return c.await(ctx, h, targets, wants, timeout)
}

func waitKinds(args []string) ([]kind, error) {
	var found []kind
	for _, arg := range args {
		k := applicationKind
		if word, _, slash := strings.Cut(arg, "/"); slash {
			var err error
			if k, err = findKind(word); err != nil {
				return nil, err
			}
		}
		if waitable[k.name] == nil {
			return nil, wrong("%s: only applications and clusters have states to wait for", arg)
		}
		if _, err := parseRef(arg, k); err != nil {
			return nil, err
		}
		found = append(found, k)
	}
	return found, nil
}

// targets finds the objects; what is gone already needs no waiting for
// "deleted".
func (h *hub) targets(ctx context.Context, kinds []kind, args, wants []string) ([]target, error) {
	var targets []target
	for i, arg := range args {
		name, _ := parseRef(arg, kinds[i])
		t := target{kind: kinds[i], name: name}
		if !t.kind.namespaced {
			targets = append(targets, t)
			continue
		}
		t.project = h.project
		if t.project == "" {
			app, err := h.application(ctx, arg)
			if err != nil {
				if len(wants) == 1 && wants[0] == "deleted" && strings.Contains(err.Error(), "there is no application") {
					continue
				}
				return nil, err
			}
			t.project = app.Namespace
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// await waits for each target in turn within one deadline.
func (c *console) await(ctx context.Context, h *hub, targets []target, wants []string, timeout time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, t := range targets {
		p := c.progress()
		err := h.follow(limited, t, wants, p)
		p.done()
		if err == nil {
			c.print("%s %s", t.kind.ref(t.name), list(wants, 10))
			continue
		}
		if ctx.Err() != nil || !errors.Is(limited.Err(), context.DeadlineExceeded) {
			return err
		}
		c.say("%s is not %s after %s.", t, list(wants, 10), timeout)
		c.tellBlock(ctx, h, t)
		return no()
	}
	return nil
}

// tellBlock explains on stderr what an unfinished wait waits for.
func (c *console) tellBlock(ctx context.Context, h *hub, t target) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if t.kind.name == clusterKind.name {
		if cl, err := h.cluster(ctx, t.name); err == nil {
			c.say("%s", connectionSentence(c.now(), cl))
		}
		return
	}
	chain, err := h.fleet.Explain(ctx, t.project, t.name, "")
	if err != nil {
		c.say("The reason cannot be told: %s", sentence(err))
		return
	}
	_ = writeChain(c.Err, chain, view{ink: inkFor(c.Err), width: c.width, now: c.now()})
}

// follow watches one object until it is in every state wanted. A watch that
// ends is taken up again, after a failure with growing pauses.
func (h *hub) follow(ctx context.Context, t target, wants []string, p *progress) error {
	pause := 200 * time.Millisecond
	for {
		done, err := h.followOnce(ctx, t, wants, p)
		switch {
		case done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !retriable(err):
			return err
		case err != nil:
			p.show(fmt.Sprintf("%s: %s; trying again", t, sentence(err)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// retriable tells a hub that is away from one that says no.
func retriable(err error) bool {
	status, coded := apierrors.APIStatus(nil), (*codedError)(nil)
	if errors.As(err, &coded) {
		return false
	}
	if !errors.As(err, &status) {
		return true
	}
	return apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) ||
		apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err)
}

func (h *hub) followOnce(ctx context.Context, t target, wants []string, p *progress) (bool, error) {
	selector := metav1.ListOptions{FieldSelector: "metadata.name=" + t.name}
	listed, err := h.of(t.kind, t.project).List(ctx, selector)
	if err != nil {
		return false, notAHub(h, err)
	}
	gone := len(wants) == 1 && wants[0] == "deleted"
	if len(listed.Items) == 0 {
		if gone {
			return true, nil
		}
		return false, h.missing(ctx, t.kind, t.project, t.name, apierrors.NewNotFound(t.kind.gvr().GroupResource(), t.name))
	}
	if done := reached(&listed.Items[0], wants, t, p); done {
		return true, nil
	}
	selector.ResourceVersion = listed.GetResourceVersion()
	w, err := h.of(t.kind, t.project).Watch(ctx, selector)
	if err != nil {
		return false, err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		u, ok := event.Object.(*unstructured.Unstructured)
		switch {
		case event.Type == watch.Error:
			return false, apierrors.FromObject(event.Object)
		case event.Type == watch.Deleted:
			return gone, nil
		case ok && reached(u, wants, t, p):
			return true, nil
		}
	}
	return false, nil
}

// reached shows how far the object is.
func reached(u *unstructured.Unstructured, wants []string, t target, p *progress) bool {
	missing, detail := waitState(u, wants)
	if len(missing) == 0 {
		return true
	}
	line := fmt.Sprintf("%s: waiting for %s", t, list(missing, 10))
	if detail != "" {
		line += " (" + detail + ")"
	}
	p.show(line)
	return false
}
