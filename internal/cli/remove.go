package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/report"
)

func newRemove(c *console) *cobra.Command {
	given := consent{}
	cmd := &cobra.Command{
		Use:   "remove CLUSTER",
		Short: "Let go of a cluster: its agent is revoked, its workloads stay",
		Long: `Let go of a cluster. Its agent is revoked and cannot come back with its key; every
workload stays and runs on. It lists what is delivered there and asks for the name
on a terminal; scripts give --confirm.`,
		Example: `  atoll remove us-east-1
  atoll remove us-east-1 --confirm us-east-1`,
		Args:              takes(1, "the name of a cluster"),
		ValidArgsFunction: c.completeNames(clusterKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.remove(cmd.Context(), args[0], given)
		},
	}
	given.addFlags(cmd)
	return cmd
}

func (c *console) remove(ctx context.Context, arg string, given consent) error {
	h, err := c.connect()
	if err != nil {
		return err
	}
	cl, err := h.cluster(ctx, arg)
	if err != nil {
		return err
	}
	r, err := h.fleet.Report(ctx, cl.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if r != nil {
		c.tellStaying(cl.Name, r.States)
	}
	if err := c.confirm(ctx, cl.Name, given); err != nil {
		return err
	}
	uid := cl.UID
	if err := h.of(clusterKind, "").Delete(ctx, cl.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}); err != nil {
		return fmt.Errorf("remove cluster %s: %w", cl.Name, err)
	}
	c.print("%s removed", clusterKind.ref(cl.Name))
	if cl.Spec.Direct != nil {
		namespace, err := h.ownNamespace(ctx)
		if err != nil {
			return err
		}
		err = h.objects.Resource(secrets).Namespace(namespace).Delete(ctx, cl.Spec.Direct.SecretName, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove the kubeconfig of cluster %s: %w", cl.Name, err)
		}
		return nil
	}
	c.say("Its agent is revoked. Take the agent away too, if you like: kubectl --context MEMBER delete namespace %s", systemNamespace)
	return nil
}

func (c *console) tellStaying(cluster string, states []report.State) {
	var apps []string
	objects := int32(0)
	for _, s := range states {
		if s.Sync != report.Withdrawn {
			apps = append(apps, s.Key.String())
			objects += s.Objects
		}
	}
	if len(apps) == 0 {
		c.say("Nothing is delivered to %s.", cluster)
		return
	}
	c.say("%s of %s stay on %s and run on, without Atoll: %s.", count(objects, "object"), count(len(apps), "application"), cluster, list(apps, 10))
}
