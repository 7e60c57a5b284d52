package release

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/api/v1alpha1/crds"
	"atoll.dev/atoll/internal/join"
)

// Annotations by which a chart is told what belongs to its release.
const (
	imageAnnotation       = "atoll.dev/image"
	definitionsAnnotation = "atoll.dev/definitions"
)

// Charts says which version of the charts to package, from where and to where.
type Charts struct {
	// Source is the folder with the charts' folders.
	Source  string
	Out     string
	Version string
	// Repository is where that version's images are; empty means on the nodes.
	Repository string
	// Push is the repository below which Push/charts/NAME is pushed; empty pushes
	// nothing.
	Push string
}

// chartSource is a chart that a release has, by the name of its image, and what
// packaging puts into it.
type chartSource struct {
	name string
	fill func(*chart.Chart) error
}

var charts = []chartSource{{"atoll-agent", fillAgent}, {"atoll", fillHub}}

// Build packages the charts, the same bytes every time, and prints their files.
// What is pushed is told to say.
func (o Charts) Build(print, say io.Writer) error {
	for _, source := range charts {
		file, err := o.pack(source)
		if err != nil {
			return fmt.Errorf("package chart %s: %w", source.name, err)
		}
		fmt.Fprintln(print, filepath.Clean(file))
		if o.Push == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("push chart %s: %w", source.name, err)
		}
		ref, err := pushChart(data, o.Push+"/charts/"+source.name+":"+chartVersion(o.Version))
		if err != nil {
			return err
		}
		fmt.Fprintf(say, "pushed oci://%s\n", ref)
	}
	return nil
}

func (o Charts) pack(source chartSource) (string, error) {
	c, err := loader.LoadDir(filepath.Join(o.Source, source.name))
	if err != nil {
		return "", err
	}
	c.Metadata.Version, c.Metadata.AppVersion = chartVersion(o.Version), o.Version
	image := source.name + ":" + o.Version
	if o.Repository != "" {
		image = o.Repository + "/" + image
	}
	c.Metadata.Annotations = map[string]string{imageAnnotation: image}
	if err := source.fill(c); err != nil {
		return "", err
	}
	undate(c)
	return util.Save(c, o.Out)
}

// fillHub says which definitions the hub installs, so that it may change those
// and no others.
func fillHub(c *chart.Chart) error {
	all, err := crds.All()
	if err != nil {
		return err
	}
	var names []string
	for _, crd := range all {
		names = append(names, crd.Name)
	}
	c.Metadata.Annotations[definitionsAnnotation] = strings.Join(names, " ")
	return nil
}

// fillAgent puts the rights of each profile into files of the chart.
func fillAgent(c *chart.Chart) error {
	for _, p := range []v1alpha1.Profile{v1alpha1.ProfileRead, v1alpha1.ProfileNamespaces, v1alpha1.ProfileFull} {
		data, err := access(p)
		if err != nil {
			return err
		}
		c.Files = append(c.Files, &common.File{Name: "files/" + string(p) + ".yaml", Data: data})
	}
	return nil
}

// access is what "atoll join -o yaml" installs around the agent: all but
// what depends on values, and is a template.
func access(p v1alpha1.Profile) ([]byte, error) {
	ticket := join.Ticket{Cluster: "c", Token: "t", Address: "hub:7444", Roots: "r"}
	objects, err := join.Manifests(ticket, p, "image")
	if err != nil {
		return nil, err
	}
	var keep []*unstructured.Unstructured
	for _, o := range objects {
		switch o.GetKind() {
		case "Namespace", "Secret", "Deployment":
		default:
			keep = append(keep, o)
		}
	}
	return join.Encode(keep)
}

// undate gives all files one time, since an archive has to have some.
func undate(c *chart.Chart) {
	epoch := time.Unix(0, 0).UTC()
	c.ModTime, c.SchemaModTime = epoch, epoch
	for _, files := range [][]*common.File{c.Raw, c.Templates, c.Files} {
		for _, f := range files {
			f.ModTime = epoch
		}
	}
}

var semantic = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

// chartVersion is semantic, which charts insist on and checkouts between
// releases are not.
func chartVersion(version string) string {
	if v := strings.TrimPrefix(version, "v"); semantic.MatchString(v) {
		return v
	}
	return "0.0.0-at-" + regexp.MustCompile(`[^0-9A-Za-z-]`).ReplaceAllString(version, "-")
}
