package release

import (
	"fmt"
	"io"
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
	"atoll.dev/atoll/internal/join"
)

// agentImage is the annotation with the image that the chart installs.
const agentImage = "atoll.dev/agent-image"

// Chart says which version of the agent's chart to package, from where and to
// where.
type Chart struct {
	// Source is the chart's folder.
	Source  string
	Out     string
	Version string
	// Image is the agent's image that belongs to this version.
	Image string
}

// Build packages the chart, the same bytes every time, and prints its file.
func (o Chart) Build(print io.Writer) error {
	c, err := o.load()
	if err != nil {
		return fmt.Errorf("package chart %s: %w", o.Source, err)
	}
	file, err := util.Save(c, o.Out)
	if err != nil {
		return fmt.Errorf("package chart %s: %w", o.Source, err)
	}
	fmt.Fprintln(print, filepath.Clean(file))
	return nil
}

func (o Chart) load() (*chart.Chart, error) {
	c, err := loader.LoadDir(o.Source)
	if err != nil {
		return nil, err
	}
	c.Metadata.Version, c.Metadata.AppVersion = chartVersion(o.Version), o.Version
	c.Metadata.Annotations = map[string]string{agentImage: o.Image}
	for _, p := range []v1alpha1.Profile{v1alpha1.ProfileRead, v1alpha1.ProfileNamespaces, v1alpha1.ProfileFull} {
		data, err := access(p)
		if err != nil {
			return nil, err
		}
		c.Files = append(c.Files, &common.File{Name: "files/" + string(p) + ".yaml", Data: data})
	}
	undate(c)
	return c, nil
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
