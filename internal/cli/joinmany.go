package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/join"
)

// manyOptions are the flags of joining by contexts.
type manyOptions struct {
	contexts     []string
	from         string // kubeconfig of the members
	nameTemplate string
	dryRun, wait bool
	concurrency  int
	timeout      time.Duration
}

func (o *manyOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.contexts, "contexts", nil, "join the clusters of all contexts that match, such as 'prod-*'; repeatable")
	f.StringVar(&o.from, "contexts-from", "", "kubeconfig with the contexts (default: kubectl's)")
	f.StringVar(&o.nameTemplate, "name-template", "{context}", "names with --contexts: {context}, and {1}… for what each * and ? stood for")
	f.BoolVar(&o.dryRun, "dry-run", false, "with --contexts: check every cluster and say what would be done")
	f.BoolVar(&o.wait, "wait", true, "with --contexts: wait until each agent is connected")
	f.IntVar(&o.concurrency, "concurrency", 16, "with --contexts: how many clusters at once")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "with --contexts: how long for each cluster")
}

// checkMany finds what does not go together with --contexts.
func (o joinOptions) checkMany(args []string) error {
	switch {
	case len(args) > 0:
		return wrong("--contexts names the clusters itself (--name-template); leave out %q", strings.Join(args, " "))
	case o.direct != "" || o.output != "" || o.explain || o.autoAccept:
		return wrong("--contexts installs and accepts; leave out --direct, --output, --explain and --auto-accept")
	case o.many.concurrency < 1:
		return wrong("--concurrency must be at least 1")
	case o.many.timeout <= 0:
		return wrong("--timeout must be longer than nothing")
	}
	return nil
}

// joiner joins many clusters at once.
type joiner struct {
	*console
	hub   *hub
	o     joinOptions
	raw   clientcmdapi.Config
	known []v1alpha1.Cluster

	mu    sync.Mutex
	owner map[string]string // context by the UID of the member
	done  int
	total int
}

// outcome is what became of one context.
type outcome struct {
	join.Choice
	words string
	err   error
}

func (c *console) joinMany(ctx context.Context, o joinOptions) error {
	raw, err := memberContexts(o.many.from)
	if err != nil {
		return err
	}
	choices, err := join.Choose(slices.Collect(maps.Keys(raw.Contexts)), o.many.contexts, o.many.nameTemplate)
	if err != nil {
		return wrong("%v", err)
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	known, err := fetchAll[v1alpha1.Cluster](ctx, h, clusterKind, "", metav1.ListOptions{})
	if err != nil {
		return err
	}
	j := &joiner{console: c, hub: h, o: o, raw: *raw, known: known, owner: map[string]string{}, total: len(choices)}
	outcomes := make([]outcome, len(choices))
	group := errgroup.Group{}
	group.SetLimit(o.many.concurrency)
	for i, at := range choices {
		group.Go(func() error {
			outcomes[i] = j.one(ctx, at)
			return nil
		})
	}
	_ = group.Wait() // every outcome has its own error
	return j.summarise(outcomes)
}

// memberContexts reads the kubeconfig where people keep their clusters, by
// kubectl's own rules unless a file is named.
func memberContexts(path string) (*clientcmdapi.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	raw, err := rules.Load()
	if err != nil {
		return nil, wrong("read the kubeconfig of the clusters to join: %v", cause(err))
	}
	if len(raw.Contexts) == 0 {
		return nil, wrong("the kubeconfig of the clusters to join has no contexts; name one with --contexts-from")
	}
	return raw, nil
}

// one joins one cluster within its own time.
func (j *joiner) one(ctx context.Context, at join.Choice) outcome {
	limited, cancel := context.WithTimeout(ctx, j.o.many.timeout)
	defer cancel()
	words, err := j.bring(limited, at)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done++
	if err != nil {
		words = sentence(err)
	}
	j.say("[%d/%d] %s: %s", j.done, j.total, at.Cluster, words)
	return outcome{Choice: at, words: words, err: err}
}

// bring takes a cluster from where it stands to connected.
func (j *joiner) bring(ctx context.Context, at join.Choice) (string, error) {
	config, err := clientcmd.NewNonInteractiveClientConfig(j.raw, at.Context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return "", fmt.Errorf("context %s: %w", at.Context, err)
	}
	m, err := newMemberAPI(config)
	if err != nil {
		return "", fmt.Errorf("context %s: %w", at.Context, err)
	}
	seen, err := m.look(ctx, j.profile())
	if err != nil {
		return "", fmt.Errorf("context %s: %w", at.Context, memberFault(err))
	}
	if other := j.claim(seen.uid, at.Context); other != "" {
		return "", fmt.Errorf("context %s reaches the same cluster as context %s", at.Context, other)
	}
	from, cl, err := standing(at, seen, j.known)
	switch {
	case err != nil:
		return "", err
	case from == stageNew && j.o.owner == "":
		return "", errors.New("a new cluster needs --owner TEAM: the team that answers for it")
	case from == stageJoined:
		return foreseen[from] + under(cl, at), nil
	}
	if from <= stageInstall {
		if err := m.permits(ctx, j.profile(), j.o.image); err != nil {
			return "", fmt.Errorf("context %s: %w", at.Context, memberFault(err))
		}
	}
	if j.o.many.dryRun {
		return foreseen[from] + under(cl, at), nil
	}
	return j.carry(ctx, at, m, seen.uid, from, cl)
}

// under names the Cluster when it is not called as its context says.
func under(cl *v1alpha1.Cluster, at join.Choice) string {
	if cl != nil && cl.Name != at.Cluster {
		return " as " + cl.Name
	}
	return ""
}

// carry does the steps that are left; each of them can be repeated.
func (j *joiner) carry(ctx context.Context, at join.Choice, m *memberAPI, uid string, from stage, cl *v1alpha1.Cluster) (string, error) {
	var err error
	note := ""
	if from == stageNew {
		if cl, err = j.register(ctx, at.Cluster); err != nil {
			return "", err
		}
	}
	if from <= stageInstall {
		if note, err = j.install(ctx, m, cl); err != nil {
			return "", err
		}
		if cl, err = j.awaited(ctx, cl, "joined"); err != nil {
			return "", late(err, "no agent asked to join within %s%s; look there: kubectl --context %s -n %s get pods; then run this again",
				j.o.many.timeout, because(m), at.Context, systemNamespace)
		}
	}
	if err := enrolledElsewhere(at, cl, uid); err != nil {
		return "", err
	}
	if !cl.Spec.Accepted {
		// The UID is a precondition: the Cluster may have been made anew since.
		patch := map[string]any{"metadata": map[string]any{"uid": string(cl.UID)}, "spec": map[string]any{"accepted": true}}
		if err := j.hub.merge(ctx, clusterKind, "", cl.Name, patch); err != nil {
			return "", err
		}
	}
	if !j.o.many.wait {
		return "accepted" + under(cl, at) + note, nil
	}
	if _, err := j.awaited(ctx, cl, "connected"); err != nil {
		return "", late(err, "accepted, and not connected within %s%s; run this again, or: atoll wait cluster/%s --for=connected", j.o.many.timeout, because(m), cl.Name)
	}
	return "connected" + under(cl, at) + note, nil
}

func (j *joiner) profile() v1alpha1.Profile {
	return v1alpha1.Profile(fallback(j.o.profile, string(v1alpha1.ProfileFull)))
}

// claim returns the context that reaches the same cluster, "" for the first.
func (j *joiner) claim(uid, context string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if other := j.owner[uid]; other != "" {
		return other
	}
	j.owner[uid] = context
	return ""
}

func (j *joiner) register(ctx context.Context, name string) (*v1alpha1.Cluster, error) {
	object := newObject(clusterKind, "", name, map[string]any{})
	j.o.overlay(object)
	a := applier{hub: j.hub}
	if _, err := a.apply(ctx, manifest{kind: clusterKind, object: object}); err != nil {
		return nil, err
	}
	return j.hub.cluster(ctx, name)
}

// install installs the agent with a new token; an older one stops counting.
func (j *joiner) install(ctx context.Context, m *memberAPI, cl *v1alpha1.Cluster) (note string, err error) {
	answer, err := j.hub.fleet.Join(ctx, cl.Name, fleet.JoinRequest{Profile: cl.Spec.Profile})
	if err != nil {
		return "", err
	}
	ticket := join.Ticket{Cluster: answer.Cluster, Token: answer.Token, Address: answer.Address, Roots: answer.Roots}
	objects, err := join.Manifests(ticket, cl.Spec.Profile, j.o.image)
	if err != nil {
		return "", err
	}
	if onlyHere(ticket.Address) && !onlyHere(net.JoinHostPort(m.host(), "0")) {
		note = fmt.Sprintf("; its agent is told to dial %s, which only the hub's machine reaches: start the hub with --public-address", ticket.Address)
	}
	return note, memberFault(m.install(ctx, objects))
}

// onlyHere reports whether an address is reached from its own machine alone.
func onlyHere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// awaited waits until the cluster is in a state, without a word.
func (j *joiner) awaited(ctx context.Context, cl *v1alpha1.Cluster, state string) (*v1alpha1.Cluster, error) {
	silent := &progress{console: &console{Streams: Streams{Err: io.Discard}}}
	if err := j.hub.follow(ctx, target{kind: clusterKind, name: cl.Name}, []string{state}, silent); err != nil {
		return nil, err
	}
	return j.hub.cluster(ctx, cl.Name)
}

// late words a deadline; other errors stay as they are.
func late(err error, format string, args ...any) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf(format, args...)
	}
	return err
}

// because is what the member says of the agent's pod.
func because(m *memberAPI) string {
	// A context of its own: the cluster's time is up.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if trouble := m.trouble(ctx); trouble != "" {
		return " (" + trouble + ")"
	}
	return ""
}

// summarise prints the table; a part that failed is an answer from a part.
func (j *joiner) summarise(outcomes []outcome) error {
	table := grid{head: []string{"CLUSTER", "CONTEXT", "RESULT"}, width: j.width}
	failed := 0
	for _, o := range outcomes {
		paint := green
		if o.err != nil {
			paint = red
			failed++
		}
		table.add(text(o.Cluster), text(o.Context), cell{o.words, paint})
	}
	if err := table.write(j.Out, j.ink); err != nil {
		return err
	}
	switch {
	case failed == 0:
		return nil
	case failed == len(outcomes):
		return &codedError{code: exitFailed}
	}
	if j.o.many.dryRun {
		j.say("%s of %d cannot be joined yet.", count(failed, "cluster"), len(outcomes))
		return &codedError{code: exitPartial}
	}
	j.say("%s of %d not joined; mend what the table says and run the same command again: it finishes them.", count(failed, "cluster"), len(outcomes))
	return &codedError{code: exitPartial}
}

// permits asks whether everything may be installed, before anything is. The
// objects' names and places do not depend on the ticket.
func (m *memberAPI) permits(ctx context.Context, p v1alpha1.Profile, image string) error {
	sample := join.Ticket{Cluster: "any", Token: "any", Address: "any:1", Roots: "any"}
	objects, err := join.Manifests(sample, p, image)
	if err != nil {
		return err
	}
	return m.mayInstall(ctx, objects)
}
