package cli

import (
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/importer"
)

func newImport(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import argocd|flux|namespace",
		Short: "Turn what another tool was told, or what runs, into Atoll's objects",
		Long: `Print Atoll's objects for what Argo CD or Flux was told, or for what runs in a
namespace, and on stderr everything that they do not say, object by object and
field by field. Nothing is applied.

Exit codes: 0 all of it was carried over; 1 something was not that changes what
runs, or when; 2 a failure.`,
		Example: `  atoll import argocd -f argocd.yaml -f clusters.yaml > atoll.yaml
  atoll import flux -f flux.yaml -p shop --cluster eu-1 > atoll.yaml
  atoll import namespace -C eu-1 --member-namespace legacy -p shop > legacy.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return wrong("there is no import of %q: argocd, flux or namespace", args[0])
			}
			return wrong("say what to import: argocd, flux or namespace")
		},
	}
	cmd.AddCommand(newImportArgoCD(c), newImportFlux(c), newImportNamespace(c))
	return cmd
}

func newImportArgoCD(c *console) *cobra.Command {
	var files, repositories []string
	o := importer.Options{}
	cmd := &cobra.Command{
		Use:   "argocd -f FILE|DIR|-",
		Short: "Applications, ApplicationSets, AppProjects and clusters of Argo CD",
		Long: `Print a Project for each AppProject, a Cluster for each cluster Secret (with its
labels; what is secret in it is never printed), and an Application for each
Application. Of an ApplicationSet, all that differ in their cluster alone become
one Application, which chooses clusters as the generator did.

The generator git looks into a checkout that --repo names.`,
		Example: `  kubectl get appprojects,applicationsets,applications -n argocd -o yaml > argocd.yaml
  kubectl get secrets -n argocd -l argocd.argoproj.io/secret-type=cluster -o yaml > clusters.yaml
  atoll import argocd -f argocd.yaml -f clusters.yaml --owner platform > atoll.yaml
  atoll import argocd -f argocd/ --repo https://git.example.com/team/fleet.git=../fleet`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opened, closeAll, err := openRepositories(repositories)
			if err != nil {
				return err
			}
			defer closeAll()
			o.Repositories = opened
			return c.imported(files, func(found importer.Objects) *importer.Result { return importer.ArgoCD(found, o) })
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&files, "filename", "f", nil, "objects of Argo CD: file, folder or - for standard input; repeatable")
	f.StringArrayVar(&repositories, "repo", nil, "URL=FOLDER: a checkout of a repository, for the generator git; repeatable")
	f.StringVar(&o.Owner, "owner", "platform", "the team that answers for the clusters")
	f.StringVar(&o.InCluster, "in-cluster", "in-cluster", "what to call the cluster that Argo CD runs in")
	return cmd
}

func newImportFlux(c *console) *cobra.Command {
	var files []string
	where := deployOptions{}
	cmd := &cobra.Command{
		Use:   "flux -f FILE|DIR|-",
		Short: "Kustomizations and HelmReleases of Flux, with their sources",
		Long: `Print an Application for each Kustomization and HelmRelease, and the Project that
they are in. Flux knows only the cluster that it runs in: say with --to, --cluster
or --where which clusters that is.

Files are read as they are. Where they are built by a kustomization, build them
first, or read them from the cluster.`,
		Example: `  kubectl get gitrepositories,kustomizations,helmrepositories,helmreleases -A -o yaml > flux.yaml
  atoll import flux -f flux.yaml -p shop --cluster eu-1 > atoll.yaml
  kustomize build clusters/production | atoll import flux -f - -p shop --to stage=production`,
		Args: takesNothing,
		RunE: func(*cobra.Command, []string) error {
			placement, err := where.typedRule()
			if err != nil {
				return err
			}
			if c.project == "" {
				return wrong("say with --project NAME which project the applications go to")
			}
			o := importer.Options{Project: c.project, Placement: placement}
			return c.imported(files, func(found importer.Objects) *importer.Result { return importer.Flux(found, o) })
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&files, "filename", "f", nil, "objects of Flux: file, folder or - for standard input; repeatable")
	f.StringVar(&where.to, "to", "", "label selector of the clusters")
	f.StringSliceVar(&where.clusters, "cluster", nil, "name of a cluster; repeatable")
	f.StringVar(&where.where, "where", "", "CEL `EXPRESSION` over cluster that must hold")
	return cmd
}

// imported prints what became of the files, and what did not.
func (c *console) imported(paths []string, convert func(importer.Objects) *importer.Result) error {
	if len(paths) == 0 {
		return wrong("say with -f what to import: a file, a folder or - for standard input")
	}
	files, err := readFiles(c.In, paths)
	if err != nil {
		return err
	}
	found, err := importer.Read(foreign(files))
	if err != nil {
		return wrong("%v", err)
	}
	return c.result(convert(found))
}

func foreign(files []fleet.File) []importer.File {
	out := make([]importer.File, len(files))
	for i, f := range files {
		out[i] = importer.File{Name: f.Name, Data: f.Data}
	}
	return out
}

// result writes the objects even when something was lost: what is left to do
// by hand is done to them.
func (c *console) result(r *importer.Result) error {
	if len(r.Objects)+len(r.Lost) == 0 {
		return wrong("nothing that can be imported is in the files")
	}
	data, err := r.YAML()
	if err != nil {
		return err
	}
	if _, err := c.Out.Write(data); err != nil {
		return err
	}
	c.lines("Not carried over:", r, false)
	c.lines("Worth knowing:", r, true)
	if !r.Faithful() {
		return no()
	}
	return nil
}

func (c *console) lines(head string, r *importer.Result, harmless bool) {
	for _, l := range r.Lost {
		if l.Harmless != harmless {
			continue
		}
		if head != "" {
			c.say("%s", head)
			head = ""
		}
		c.say("  %s", l)
	}
}

// openRepositories opens checkouts in such a way that no link leads out of them.
func openRepositories(given []string) (map[string]fs.FS, func(), error) {
	opened, roots := map[string]fs.FS{}, []*os.Root(nil)
	closeAll := func() {
		for _, root := range roots {
			root.Close()
		}
	}
	for _, one := range given {
		// The last one: URLs may hold others.
		at := strings.LastIndex(one, "=")
		if at <= 0 {
			closeAll()
			return nil, nil, wrong("--repo %q is not URL=FOLDER", one)
		}
		root, err := os.OpenRoot(one[at+1:])
		if err != nil {
			closeAll()
			return nil, nil, wrong("--repo %s: %v", one, cause(err))
		}
		opened[one[:at]], roots = root.FS(), append(roots, root)
	}
	return opened, closeAll, nil
}

// typedRule is the placement that the flags make, or nil.
func (o *deployOptions) typedRule() (*v1alpha1.ApplicationPlacement, error) {
	if _, err := labels.Parse(o.to); err != nil {
		return nil, wrong("--to %q is no label selector: %v", o.to, err)
	}
	if o.rule() == nil {
		return nil, nil
	}
	p := &v1alpha1.ApplicationPlacement{}
	p.Clusters, p.Names, p.Where = o.to, o.clusters, o.where
	return p, nil
}
