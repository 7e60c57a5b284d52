package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/version"
)

type joinOptions struct {
	owner, purpose         string
	provider, region       string
	jurisdiction, tenant   string
	labels                 []string
	profile, image, output string
	direct                 string
	autoAccept, explain    bool
	many                   manyOptions
}

func newJoin(c *console) *cobra.Command {
	o := joinOptions{}
	cmd := &cobra.Command{
		Use:   "join NAME --owner TEAM | --contexts PATTERN --owner TEAM",
		Short: "Register a cluster and print what installs its agent, or join many at once",
		Long: `Register a cluster and print the one command that installs its agent, to run where
kubectl speaks to the member. With -o yaml the manifests themselves are printed,
with a token that works once, for this cluster, for an hour; run it again for a
new token. Then accept the agent with "atoll accept", unless --auto-accept.

--explain prints what the agent will be able to do, in words and as YAML, and
registers nothing. --direct registers a cluster without an agent of its own: the
hub runs the same code with the kubeconfig given.

-o bootstrap prints the file for an agent that runs outside its cluster:
atoll-agent run --kubeconfig MEMBER --bootstrap FILE

--contexts registers, installs and accepts every cluster whose context matches, as
you: the contexts are those of kubectl ($KUBECONFIG, ~/.kube/config) or of
--contexts-from. An agent is accepted only if it enrolled from the very cluster that
the context reaches. Each cluster has its own --timeout; run the command again and it
finishes those that failed, and leaves those that have joined as they are. The exit
code is 3 when some failed and 2 when all did.`,
		Example: `  atoll join us-east-1 --owner platform --label stage=production --region us-east-1
  atoll join us-east-1 -o yaml | kubectl --context us-east-1 apply -f -
  atoll join eu-1 --owner platform --jurisdiction eu --profile namespaces --explain
  atoll join edge-7 --owner retail --auto-accept -o bootstrap > bootstrap.yaml
  atoll join old-dc --owner platform --direct old-dc.kubeconfig
  atoll join --contexts 'prod-*' --owner platform --label stage=production --dry-run
  atoll join --contexts 'arn:*:cluster/*' --name-template 'eks-{2}' --owner platform`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(o.many.contexts) > 0 || o.explain && len(args) == 0 {
				return nil
			}
			return takes(1, "the cluster's name")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if len(o.many.contexts) == 0 {
				return c.join(cmd.Context(), o, args)
			}
			if err := o.checkMany(args); err != nil {
				return err
			}
			return c.joinMany(cmd.Context(), o)
		},
	}
	o.addFlags(cmd)
	o.many.addFlags(cmd)
	return cmd
}

func (o *joinOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.owner, "owner", "", "the team that answers for the cluster")
	f.StringArrayVarP(&o.labels, "label", "l", nil, "KEY=VALUE; repeatable")
	f.StringVar(&o.purpose, "purpose", "", "why the cluster exists")
	f.StringVar(&o.provider, "provider", "", "who runs it, such as eks, gke, aks, on-premises")
	f.StringVar(&o.region, "region", "", "where it runs")
	f.StringVar(&o.jurisdiction, "jurisdiction", "", "the law that its data is under, such as eu")
	f.StringVar(&o.tenant, "tenant", "", "dedicate it to projects of this tenant")
	f.StringVar(&o.profile, "profile", "", "the agent's access: read, namespaces or full (default full)")
	f.StringVar(&o.image, "image", version.AgentImage(), "the agent's image")
	f.BoolVar(&o.autoAccept, "auto-accept", false, "accept the agent as soon as it asks")
	f.BoolVar(&o.explain, "explain", false, "print what the agent will be able to do; register nothing")
	f.StringVar(&o.direct, "direct", "", "kubeconfig of a cluster without an agent of its own")
	f.StringVarP(&o.output, "output", "o", "", "yaml (manifests) or bootstrap (file for an agent outside)")
	_ = cmd.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions([]string{"read", "namespaces", "full"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"yaml", "bootstrap"}, cobra.ShellCompDirectiveNoFileComp))
}

// check finds every mistake that needs no hub.
func (o *joinOptions) check() error {
	if o.profile != "" {
		if err := oneOf("profile", o.profile, "read", "namespaces", "full"); err != nil {
			return err
		}
	}
	if o.output != "" {
		if err := oneOf("output", o.output, "yaml", "bootstrap"); err != nil {
			return err
		}
	}
	if o.direct != "" && (o.output != "" || o.explain) {
		return wrong("--direct installs no agent; leave out --output and --explain")
	}
	for _, l := range o.labels {
		if key, _, ok := strings.Cut(l, "="); !ok || key == "" {
			return wrong("--label %q is not KEY=VALUE", l)
		}
	}
	return nil
}

func (c *console) join(ctx context.Context, o joinOptions, args []string) error {
	if o.explain {
		return c.explainJoin(v1alpha1.Profile(fallback(o.profile, string(v1alpha1.ProfileFull))))
	}
	name, err := parseRef(args[0], clusterKind)
	if err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	cl, err := c.register(ctx, h, name, o)
	if err != nil {
		return err
	}
	switch {
	case o.direct != "":
		c.say("The hub reaches it itself; follow with: atoll wait cluster/%s --for=connected", name)
		return nil
	case o.output != "":
		return c.printAgent(ctx, h, cl, o)
	}
	c.say("Install its agent where the kubectl context %s is that cluster:\n", name)
	c.print("%s", c.installCommand(name, o))
	c.say("\n%s", next(cl))
	return nil
}

func next(cl *v1alpha1.Cluster) string {
	if cl.Spec.Accepted {
		return "Its agent is accepted as soon as it asks."
	}
	return "Then accept its agent with: atoll accept " + cl.Name
}

// installCommand repeats the flags without which it would mean something else.
func (c *console) installCommand(name string, o joinOptions) string {
	command := "atoll join " + name
	if c.kubeconfig != "" {
		command += " --kubeconfig " + c.kubeconfig
	}
	if c.context != "" {
		command += " --context " + c.context
	}
	if o.image != version.AgentImage() {
		command += " --image " + o.image
	}
	return command + " -o yaml | kubectl --context " + name + " apply -f -"
}

func (c *console) explainJoin(p v1alpha1.Profile) error {
	c.say("%s", join.Explain(p))
	objects := make([]*unstructured.Unstructured, 0, 12)
	for _, o := range join.Access(p) {
		u, err := join.Plain(o)
		if err != nil {
			return err
		}
		objects = append(objects, u)
	}
	data, err := join.Encode(objects)
	if err != nil {
		return err
	}
	_, err = c.Out.Write(data)
	return err
}

// printAgent asks for a token and prints what installs the agent.
func (c *console) printAgent(ctx context.Context, h *hub, cl *v1alpha1.Cluster, o joinOptions) error {
	answer, err := h.fleet.Join(ctx, cl.Name, fleet.JoinRequest{Profile: cl.Spec.Profile})
	if err != nil {
		return err
	}
	ticket := join.Ticket{Cluster: answer.Cluster, Token: answer.Token, Address: answer.Address, Roots: answer.Roots}
	var data []byte
	if o.output == "bootstrap" {
		data, err = ticket.Encode()
	} else {
		var objects []*unstructured.Unstructured
		if objects, err = join.Manifests(ticket, cl.Spec.Profile, o.image); err == nil {
			data, err = join.Encode(objects)
		}
	}
	if err != nil {
		return err
	}
	c.say("The token works once, until %s. %s", answer.Expires.Local().Format("15:04:05"), next(cl))
	_, err = c.Out.Write(data)
	return err
}

// register makes or updates the Cluster. What has joined is left alone: another
// agent under its name would be another cluster.
func (c *console) register(ctx context.Context, h *hub, name string, o joinOptions) (*v1alpha1.Cluster, error) {
	before, err := h.of(clusterKind, "").Get(ctx, name, metav1.GetOptions{})
	switch {
	case err != nil && notServed(err):
		return nil, notAHub(h, err)
	case err != nil && !apierrors.IsNotFound(err):
		return nil, err
	case err != nil && o.owner == "":
		return nil, wrong("atoll join %s needs --owner TEAM: the team that answers for the cluster", name)
	}
	object := newObject(clusterKind, "", name, map[string]any{})
	if err == nil {
		known, err := as[v1alpha1.Cluster](before)
		switch {
		case err != nil:
			return nil, err
		case known.Status.Identity != nil:
			return nil, wrong("%s has joined already; to join it anew, first let go of it: atoll remove %s", name, name)
		case o.silent():
			return known, nil
		}
		if object, err = owned(before, fieldManager); err != nil {
			return nil, err
		}
	}
	o.overlay(object)
	if o.direct != "" {
		if err := c.storeKubeconfig(ctx, h, name, o.direct); err != nil {
			return nil, err
		}
	}
	a := applier{hub: h}
	done, err := a.apply(ctx, manifest{kind: clusterKind, object: object})
	if err != nil {
		return nil, err
	}
	c.say("%s %s", clusterKind.ref(name), strings.Replace(done, "created", "registered", 1))
	return h.cluster(ctx, name)
}

// silent reports whether the flags say nothing of the cluster itself.
func (o *joinOptions) silent() bool {
	return o.owner+o.purpose+o.provider+o.region+o.jurisdiction+o.tenant+o.profile+o.direct == "" && len(o.labels) == 0 && !o.autoAccept
}

// overlay writes what the flags say over what the cluster had.
func (o *joinOptions) overlay(u *unstructured.Unstructured) {
	spec, _ := u.Object["spec"].(map[string]any)
	for key, value := range map[string]string{
		"owner": o.owner, "purpose": o.purpose, "provider": o.provider, "region": o.region,
		"jurisdiction": o.jurisdiction, "tenant": o.tenant, "profile": o.profile,
	} {
		if value != "" {
			spec[key] = value
		}
	}
	if o.autoAccept || o.direct != "" {
		spec["accepted"] = true
	}
	if o.direct != "" {
		spec["direct"] = map[string]any{"secretName": directSecret(u.GetName())}
	}
	labels := u.GetLabels()
	for _, l := range o.labels {
		if labels == nil {
			labels = map[string]string{}
		}
		key, value, _ := strings.Cut(l, "=")
		labels[key] = value
	}
	u.SetLabels(labels)
}
