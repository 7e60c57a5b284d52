// Package helm renders charts as `helm template` does, with the engine of Helm
// itself, and without a cluster: `lookup` answers nothing, and what a template
// asks about Kubernetes is answered from the capabilities it is given, and
// recorded.
//
// It decides which of a chart's outputs are delivered, refuses a chart whose
// output is not the same each time, by file and line, and reads nothing beside
// the tree. It leaves to others: fetching charts and their dependencies,
// judging the objects (internal/content), and limits of time and memory: a
// template can loop for ever, so charts of others are rendered in a process
// that can be ended (internal/render/worker).
package helm

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/render/class"
)

// Options are the inputs beside the chart.
type Options struct {
	// Release is .Release.Name, Namespace .Release.Namespace.
	Release   string
	Namespace string
	// ValuesFiles are paths relative to the chart's folder, within the tree;
	// later ones win over earlier ones, and all over the chart's own values.
	ValuesFiles []string
	// Values is a YAML or JSON map; it wins over the files.
	Values []byte
	// SkipHooks leaves out objects with a helm.sh/hook. Without it those that have
	// a place in a delivery are delivered.
	SkipHooks bool
	// Tests delivers the chart's tests, as objects of phase Verify.
	Tests bool
	// SkipCRDs leaves out what lies in crds/.
	SkipCRDs bool
}

// Result is what a chart renders to.
type Result struct {
	Name, Version, AppVersion string
	// Files are the manifests, one for each template that rendered to
	// anything; definitions from crds/ come first.
	Files []content.File
	// Hooks are those that are not delivered.
	Hooks    []Hook
	Warnings []string
	// Queries are the questions about the cluster that the templates asked.
	Queries []class.Query
	// Inputs is the digest of all that was read beside the answers.
	Inputs string
}

// Render renders the chart in a folder of the tree.
func Render(tree fs.FS, folder string, of class.Capabilities, o Options) (Result, error) {
	if err := chartutil.ValidateReleaseName(o.Release); err != nil {
		return Result{}, fmt.Errorf("release name %q: %w", o.Release, err)
	}
	files, err := read(tree, folder)
	if err != nil {
		return Result{}, err
	}
	values, err := gatherValues(tree, folder, o)
	if err != nil {
		return Result{}, err
	}
	inputs, err := digest(files, values, o)
	if err != nil {
		return Result{}, err
	}
	loaded, err := load(folder, files)
	if err != nil {
		return Result{}, err
	}
	p := &press{chart: loaded, record: class.NewRecord(of), options: o}
	if err := p.prepare(values); err != nil {
		return Result{}, fmt.Errorf("chart %s: %w", loaded.Name(), err)
	}
	rendered, err := p.settled()
	if err != nil {
		return Result{}, fmt.Errorf("chart %s: %w", loaded.Name(), err)
	}
	r := Result{
		Name: loaded.Name(), Version: loaded.Metadata.Version, AppVersion: loaded.Metadata.AppVersion,
		Queries: p.record.Queries(), Inputs: inputs, Warnings: p.warnings(),
	}
	if !o.SkipCRDs {
		r.Files = definitions(loaded)
	}
	if err := r.sort(rendered, o); err != nil {
		return Result{}, fmt.Errorf("chart %s: %w", loaded.Name(), err)
	}
	return r, nil
}

// press renders one chart, as often as it takes to be sure of the outcome.
type press struct {
	chart   *chart.Chart
	record  *class.Record
	options Options
	values  map[string]any
	lookups bool // a template asked the cluster
}

// prepare merges the values, drops disabled dependencies and checks what can
// be checked before any template runs.
func (p *press) prepare(values map[string]any) error {
	if p.chart.Metadata.Type == "library" {
		return fmt.Errorf("is a library: it has nothing to deliver by itself; give the chart that uses it")
	}
	if need := p.chart.Metadata.KubeVersion; need != "" && p.record.Ask(class.AskMatches, need) != "true" {
		return &class.Unfit{Err: fmt.Errorf("needs Kubernetes %s, and the cluster has %s: give it other clusters by its placement, or another version of the chart",
			need, p.record.Ask(class.AskVersion, ""))}
	}
	if err := checkDependencies(p.chart); err != nil {
		return err
	}
	if err := checkSchemas(p.chart); err != nil {
		return err
	}
	if err := chartutil.ProcessDependencies(p.chart, values); err != nil {
		return fmt.Errorf("enable its dependencies: %w", err)
	}
	merged, err := util.CoalesceValues(p.chart, values)
	if err != nil {
		return fmt.Errorf("merge the values: %w", err)
	}
	if err := util.ValidateAgainstSchema(p.chart, merged); err != nil {
		return fmt.Errorf("the values are not as values.schema.json wants them: %s", strings.TrimSpace(err.Error()))
	}
	p.values = merged
	return nil
}

func (p *press) warnings() []string {
	if !p.lookups {
		return nil
	}
	return []string{"templates look objects up in the cluster (lookup), which answers nothing here, as with `helm template`"}
}

// definitions are the files in crds/ of the chart and its dependencies.
func definitions(c *chart.Chart) []content.File {
	var files []content.File
	for _, crd := range c.CRDObjects() {
		files = append(files, content.File{Name: crd.Filename, Data: crd.File.Data})
	}
	slices.SortFunc(files, func(a, b content.File) int { return cmp.Compare(a.Name, b.Name) })
	return files
}

// digest covers everything that a render reads beside the cluster.
func digest(files []file, values common.Values, o Options) (string, error) {
	asJSON, err := json.Marshal(values) // keys come sorted
	if err != nil {
		return "", fmt.Errorf("read the values: %w", err)
	}
	h := sha256.New()
	if o.Tests {
		fmt.Fprint(h, "with tests ")
	}
	fmt.Fprintf(h, "helm 2\n%q %q %t %t\n%d ", o.Release, o.Namespace, o.SkipHooks, o.SkipCRDs, len(asJSON))
	h.Write(asJSON)
	for _, f := range files {
		fmt.Fprintf(h, "\n%q %d ", f.Name, len(f.Data))
		h.Write(f.Data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func isNotes(name string) bool { return strings.HasSuffix(name, "NOTES.txt") }

// same compares two outcomes, without the notes, which go nowhere.
func same(a, b map[string]string) bool {
	for name, text := range a {
		if !isNotes(name) && b[name] != text {
			return false
		}
	}
	return len(a) == len(b)
}

func blank(text string) bool { return len(bytes.TrimSpace([]byte(text))) == 0 }
