package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/importer"
	"atoll.dev/atoll/internal/report"
)

type takeoverOptions struct {
	app, set                      string
	cluster, elsewhere, namespace string
	consent                       consent
	timeout                       time.Duration
}

func newTakeover(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "takeover argocd",
		Short:   "Let Atoll go on with what Argo CD runs, without a restart",
		Example: `  atoll takeover argocd --app guestbook -C in-cluster`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return wrong("there is no takeover from %q%s", args[0], didYouMean(args[0], []string{"argocd"}))
			}
			return wrong("say from what: atoll takeover argocd --app NAME")
		},
	}
	cmd.AddCommand(newTakeoverArgoCD(c))
	return cmd
}

func newTakeoverArgoCD(c *console) *cobra.Command {
	o := takeoverOptions{}
	cmd := &cobra.Command{
		Use:   "argocd --app NAME -C CLUSTER",
		Short: "Take over what an Application or ApplicationSet of Argo CD runs",
		Long: `Take over what was imported (atoll import argocd) and applied to the hub: its
applications wait there, because Argo CD still reconciles their objects.

It prints what it is about to do and asks. Then, one after the other: the
ApplicationSet is deleted so that its Applications stay; their automatic sync goes
off and their finalizer away; Argo CD's marks are taken off the objects; Atoll
adopts them; all pods must be the same as before; the Applications are deleted so
that their objects stay. Where a step fails it ends there, and may be run again.

Nothing is begun when Atoll would change anything but its own labels.`,
		Example: `  atoll takeover argocd --app guestbook -C in-cluster
  atoll takeover argocd --applicationset cluster-addons --argocd-kubeconfig argo.elsewhere --yes`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.takeover(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.app, "app", "", "an Application of Argo CD that stands for itself")
	f.StringVar(&o.set, "applicationset", "", "an ApplicationSet, with all of its Applications")
	f.StringVarP(&o.cluster, "cluster", "C", "", "the cluster that Argo CD runs in")
	f.StringVar(&o.elsewhere, "argocd-kubeconfig", "", "kubeconfig of the cluster that Argo CD runs in, where it is no member")
	f.StringVar(&o.namespace, "argocd-namespace", "argocd", "namespace of the Application there")
	o.consent.addFlags(cmd)
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long to wait for Atoll to adopt everything")
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
	return cmd
}

// origin is what an imported application says that it was made of.
func (o takeoverOptions) origin() string {
	if o.set != "" {
		return "ApplicationSet " + o.namespace + "/" + o.set
	}
	return "Application " + o.namespace + "/" + o.app
}

func (o takeoverOptions) check() error {
	switch {
	case (o.app == "") == (o.set == ""):
		return wrong("give --app NAME or --applicationset NAME")
	case (o.cluster == "") == (o.elsewhere == ""):
		return wrong("say where Argo CD runs: -C CLUSTER, or --argocd-kubeconfig where it is no member")
	case o.timeout <= 0:
		return wrong("--timeout must be longer than nothing")
	}
	return nil
}

// takeover is one that is under way.
type takeover struct {
	*console
	takeoverOptions
	hub     *hub
	argo    *memberCalls
	theirs  []unstructured.Unstructured
	ours    []v1alpha1.Application
	members map[string]*memberCalls
	// objects are the applications' on each cluster.
	objects []fleet.ClusterObjects
}

func (c *console) takeover(ctx context.Context, o takeoverOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	t := &takeover{console: c, takeoverOptions: o, hub: h, members: map[string]*memberCalls{}}
	for _, step := range []func(context.Context) error{t.findTheirs, t.findOurs, t.look, t.ask} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	before, err := t.pods(ctx)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{t.deleteSet, t.stopTheirs, t.unmark, t.adopt} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := t.same(ctx, before); err != nil {
		return err
	}
	if err := t.deleteTheirs(ctx); err != nil {
		return err
	}
	for _, app := range t.ours {
		c.print("%s taken over", applicationKind.ref(app.Name))
	}
	return nil
}

func argoKind(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: resource}
}

// findTheirs gets Argo CD's own objects. None is no mistake when an earlier run
// got that far.
func (t *takeover) findTheirs(ctx context.Context) (err error) {
	if t.cluster != "" {
		t.argo, err = t.member(ctx, t.cluster)
	} else {
		config, configErr := clientcmd.BuildConfigFromFlags("", t.elsewhere)
		if configErr != nil {
			return wrong("--argocd-kubeconfig: %v", configErr)
		}
		t.argo, err = memberOf("of Argo CD", config)
	}
	if err != nil {
		return err
	}
	list, err := t.argo.objects.Resource(argoKind("applications")).Namespace(t.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the Applications of Argo CD on cluster %s: %w", t.argo.name, err)
	}
	for _, u := range list.Items {
		set := setOf(u)
		switch {
		case t.app != "" && u.GetName() == t.app && set != "":
			return wrong("Application %s comes back from its ApplicationSet: take that over, --applicationset %s", t.app, set)
		case t.app != "" && u.GetName() == t.app, t.set != "" && set == t.set:
			t.theirs = append(t.theirs, u)
		}
	}
	return nil
}

func setOf(u unstructured.Unstructured) string {
	for _, owner := range u.GetOwnerReferences() {
		if owner.Kind == "ApplicationSet" {
			return owner.Name
		}
	}
	return ""
}

func (t *takeover) findOurs(ctx context.Context) error {
	all, err := fetchAll[v1alpha1.Application](ctx, t.hub, applicationKind, t.hub.project, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, app := range all {
		if app.Annotations[importer.AnnotationOrigin] == t.origin() {
			t.ours = append(t.ours, app)
		}
	}
	if len(t.ours) == 0 {
		return wrong("no application was imported from %s: atoll import argocd -f … | atoll apply -f -", t.origin())
	}
	for _, app := range t.ours {
		if len(app.Status.Clusters) == 0 || app.Status.ObservedGeneration != app.Generation {
			return wrong("app/%s is on no cluster yet: see atoll explain %s", app.Name, appRef(app.Namespace, app.Name))
		}
	}
	return nil
}

// look compares: what would change is no takeover but a change.
func (t *takeover) look(ctx context.Context) error {
	for _, app := range t.ours {
		d, err := t.hub.fleet.Diff(ctx, app.Namespace, app.Name, "")
		if err != nil {
			return err
		}
		if err := t.silent(d.Silent); err != nil {
			return err
		}
		withoutOwnLabels(d)
		if differs(d) {
			t.say("Atoll would change what app/%s runs; nothing was done:", app.Name)
			if err := writeDiff(t.Out, d, t.view()); err != nil {
				return err
			}
			return no()
		}
		o, err := t.hub.fleet.Objects(ctx, app.Namespace, app.Name, "")
		if err != nil {
			return err
		}
		if err := t.silent(o.Silent); err != nil {
			return err
		}
		t.objects = append(t.objects, o.Clusters...)
	}
	return nil
}

// withoutOwnLabels leaves out the labels that Atoll puts on everything.
func withoutOwnLabels(d *fleet.ApplicationDiff) {
	for i := range d.Clusters {
		objects := d.Clusters[i].Objects
		for j := range objects {
			objects[j].Changes = slices.DeleteFunc(objects[j].Changes, func(ch report.Change) bool {
				return strings.HasPrefix(ch.Path, "metadata.labels[applyset.kubernetes.io/")
			})
		}
		d.Clusters[i].Objects = slices.DeleteFunc(objects, func(o fleet.ObjectDiff) bool {
			return o.Action == "Change" && len(o.Changes) == 0
		})
	}
}

func (t *takeover) ask(ctx context.Context) error {
	total := 0
	for _, c := range t.objects {
		total += len(c.Objects)
	}
	t.say("Atoll would change nothing of %s of %s.", count(total, "object"), t.origin())
	if t.set != "" {
		t.say("  delete %s; its Applications stay", t.origin())
	}
	for _, u := range t.theirs {
		t.say("  Application %s: automatic sync off, finalizer away", u.GetName())
	}
	t.say("  take Argo CD's marks off %s", count(total, "object"))
	for _, app := range t.ours {
		t.say("  app/%s adopts them on %s", app.Name, list(app.Status.Clusters, 8))
	}
	t.say("  compare the pods with those of now")
	t.say("  delete %s; their objects stay", count(len(t.theirs), "Application"))
	return t.confirm(ctx, fallback(t.app, t.set), t.consent)
}
