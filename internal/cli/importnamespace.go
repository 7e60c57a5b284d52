package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/importer"
)

type namespaceOptions struct {
	cluster, namespace, name string
	upload, secrets          bool
}

func newImportNamespace(c *console) *cobra.Command {
	o := namespaceOptions{}
	cmd := &cobra.Command{
		Use:   "namespace -C CLUSTER --member-namespace NAME",
		Short: "What runs in a namespace of a cluster, as an application that adopts it",
		Long: `Read what people wrote in a namespace of a cluster, through the hub and as you,
and print an Application that adopts it there without a restart. What the cluster
makes by itself is left out, and so are Secrets.

With --upload the manifests are stored in the project, as "atoll deploy -f" does, and
the Application names them; with --with-secrets Secrets are among them, sealed.`,
		Example: `  atoll import namespace -C eu-1 --member-namespace legacy -p shop > legacy.yaml
  atoll import namespace -C eu-1 --member-namespace legacy -p shop --with-secrets > legacy.yaml`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.importNamespace(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.cluster, "cluster", "C", "", "the cluster")
	f.StringVar(&o.namespace, "member-namespace", "", "the namespace in the cluster")
	f.StringVar(&o.name, "name", "", "what to call the application (default: as the namespace)")
	f.BoolVar(&o.upload, "upload", false, "store the manifests in the project instead of printing them")
	f.BoolVar(&o.secrets, "with-secrets", false, "take Secrets too; implies --upload")
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
	return cmd
}

func (c *console) importNamespace(ctx context.Context, o namespaceOptions) error {
	if o.cluster == "" || o.namespace == "" {
		return wrong("say which namespace of which cluster: -C CLUSTER --member-namespace NAME")
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	if h.project == "" {
		return wrong("say with --project NAME which project the application goes to")
	}
	m, err := c.member(ctx, o.cluster)
	if err != nil {
		return err
	}
	live, err := m.everything(ctx, o.namespace)
	if err != nil {
		return err
	}
	r, kept := importer.Live(live, o.secrets)
	if len(kept) == 0 {
		return wrong("nothing that people wrote is in namespace %s of cluster %s", o.namespace, o.cluster)
	}
	source, err := c.liveSource(ctx, h, r, o)
	if err != nil {
		return err
	}
	return c.result(importer.Adopting(r, h.project, fallback(o.name, o.namespace), o.namespace, o.cluster, source))
}

// maxInline is what an Application holds itself, in bytes.
const maxInline = 256 << 10

func (c *console) liveSource(ctx context.Context, h *hub, r *importer.Result, o namespaceOptions) (map[string]any, error) {
	data, err := r.YAML()
	if err != nil {
		return nil, err
	}
	if !o.upload && !o.secrets {
		if len(data) > maxInline {
			return nil, wrong("the manifests are %s; an application holds %s itself: add --upload", size(int64(len(data))), size(maxInline))
		}
		return map[string]any{"inline": string(data)}, nil
	}
	from := fmt.Sprintf("namespace %s of cluster %s", o.namespace, o.cluster)
	receipt, err := c.upload(ctx, h, []fleet.File{{Name: "live.yaml", Data: data}}, from)
	if err != nil {
		return nil, err
	}
	return map[string]any{"content": map[string]any{"digest": receipt.Digest, "origin": from}}, nil
}

// everything lists all kinds of a namespace that the caller may see.
func (m *memberCalls) everything(ctx context.Context, namespace string) ([]*unstructured.Unstructured, error) {
	lists, err := m.kinds.ServerPreferredNamespacedResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, fmt.Errorf("ask cluster %s which kinds it serves: %w", m.name, err)
	}
	var all []*unstructured.Unstructured
	seen := map[string]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue // what no server may call itself
		}
		for _, r := range list.APIResources {
			gk := schema.GroupKind{Group: gv.Group, Kind: r.Kind}
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "patch") || importer.MadeByCluster(gk) {
				continue
			}
			found, err := m.objects.Resource(gv.WithResource(r.Name)).Namespace(namespace).List(ctx, metav1.ListOptions{})
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list %s in namespace %s of cluster %s: %w", r.Name, namespace, m.name, err)
			}
			for i := range found.Items {
				// One object may be served by two groups.
				if u := &found.Items[i]; !seen[string(u.GetUID())] {
					seen[string(u.GetUID())] = true
					all = append(all, u)
				}
			}
		}
	}
	return all, nil
}
