package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
)

func newCanI(c *console) *cobra.Command {
	subresource := ""
	cmd := &cobra.Command{
		Use:   "can-i VERB KIND [NAME]",
		Short: "Whether you may do something on the hub, and which rule says so",
		Long: `Ask the hub whether you may VERB objects of KIND: get, list, watch, create, update,
patch, delete, or any verb that its rules know. With -p in that project, without in
all of them. The answer goes to stdout, the rule to stderr; the exit code is 0 for
yes and 1 for no. A path such as /metrics stands for itself.`,
		Example: `  atoll can-i create app -p shop
  atoll can-i delete clusters
  atoll can-i get deployments.apps web -p shop
  atoll can-i patch app/shop -p shop --subresource status`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 && len(args) != 3 {
				return wrong("%s needs a verb and a kind, and takes a name (usage: %s)", cmd.CommandPath(), cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.canI(cmd.Context(), args, subresource)
		},
	}
	cmd.Flags().StringVar(&subresource, "subresource", "", "of the kind, such as status or scale")
	return cmd
}

func (c *console) canI(ctx context.Context, args []string, subresource string) error {
	h, err := c.connect()
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(h.config)
	if err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	review := &authorizationv1.SelfSubjectAccessReview{}
	question, err := inquire(kube.Discovery(), h.project, args, subresource, &review.Spec)
	if err != nil {
		return err
	}
	answer, err := kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if answer.Status.EvaluationError != "" {
		c.say("not all rules could be read: %s", answer.Status.EvaluationError)
	}
	if answer.Status.Allowed {
		c.print("yes")
		if answer.Status.Reason != "" {
			c.say("%s", answer.Status.Reason)
		}
		return nil
	}
	c.print("no")
	reason := "no rule lets you " + question
	if answer.Status.Reason != "" {
		reason = answer.Status.Reason
	}
	c.say("%s", reason)
	return no()
}

// inquire fills in what is asked, and returns it in words.
func inquire(served discovery.DiscoveryInterface, project string, args []string, subresource string, into *authorizationv1.SelfSubjectAccessReviewSpec) (string, error) {
	verb, word, name := args[0], args[1], ""
	if strings.HasPrefix(word, "/") {
		if len(args) == 3 || subresource != "" {
			return "", wrong("%s is a path; it has no name and no subresource", word)
		}
		into.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: word, Verb: verb}
		return verb + " " + word, nil
	}
	word, name, _ = strings.Cut(word, "/")
	if len(args) == 3 {
		if name != "" {
			return "", wrong("%s/%s and %s both name an object", word, name, args[2])
		}
		name = args[2]
	}
	resource, namespaced, err := resourceOf(served, word)
	if err != nil {
		return "", err
	}
	a := &authorizationv1.ResourceAttributes{
		Verb: verb, Group: resource.Group, Version: resource.Version, Resource: resource.Resource, Subresource: subresource, Name: name,
	}
	words := verb + " " + resource.GroupResource().String()
	if subresource != "" {
		words += "/" + subresource
	}
	if name != "" {
		words += " " + name
	}
	switch {
	case namespaced && project != "":
		a.Namespace = project
		words += " in project " + project
	case namespaced:
		words += " in every project"
	}
	into.ResourceAttributes = a
	return words, nil
}

// resourceOf reads one of our nouns or whatever else the hub serves. "*" is all.
func resourceOf(served discovery.DiscoveryInterface, word string) (resource schema.GroupVersionResource, namespaced bool, err error) {
	if word == "*" {
		return schema.GroupVersionResource{Group: "*", Resource: "*"}, true, nil
	}
	if k, err := findKind(word); err == nil {
		return k.gvr(), k.namespaced, nil
	}
	cached := memory.NewMemCacheClient(served)
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, nil)
	resource, err = mapper.ResourceFor(schema.ParseGroupResource(strings.ToLower(word)).WithVersion(""))
	if meta.IsNoMatchError(err) {
		return resource, false, wrong("the hub serves no kind %q", word)
	}
	if err != nil {
		return resource, false, fmt.Errorf("look %s up: %w", word, err)
	}
	kind, err := mapper.KindFor(resource)
	if err != nil {
		return resource, false, fmt.Errorf("look %s up: %w", word, err)
	}
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return resource, false, fmt.Errorf("look %s up: %w", word, err)
	}
	return resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
}
