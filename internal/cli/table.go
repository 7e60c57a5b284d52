package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/api/v1alpha1"
)

// acceptTable asks the API server for the columns that kubectl prints, so that
// both show the same.
const acceptTable = "application/json;as=Table;v=v1;g=meta.k8s.io"

// question is what `get` asks for.
type question struct {
	kind     kind
	project  string // "" is every project
	name     string // "" is all
	selector string
}

// request is one call on the question's path.
func (q question) request(client rest.Interface) *rest.Request {
	r := client.Get().Resource(q.kind.resource).SetHeader("Accept", acceptTable)
	if q.kind.namespaced && q.project != "" {
		r = r.Namespace(q.project)
	}
	if q.selector != "" {
		r = r.Param("labelSelector", q.selector)
	}
	return r
}

func (h *hub) tables() (rest.Interface, error) {
	cfg := rest.CopyConfig(h.config)
	gv := v1alpha1.GroupVersion
	cfg.GroupVersion, cfg.APIPath = &gv, "/apis"
	cfg.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	return client, nil
}

// table asks once.
func (h *hub) table(ctx context.Context, q question) (*metav1.Table, error) {
	client, err := h.tables()
	if err != nil {
		return nil, err
	}
	r := q.request(client)
	if q.name != "" {
		r = r.Name(q.name)
	}
	answer := r.Do(ctx)
	// Error, not Raw's: only it reads the Status that a refusal came with.
	if err := answer.Error(); err != nil {
		return nil, h.missing(ctx, q.kind, q.project, q.name, err)
	}
	raw, err := answer.Raw()
	if err != nil {
		return nil, fmt.Errorf("read the hub's table of %s: %w", q.kind.resource, err)
	}
	table := &metav1.Table{}
	if err := json.Unmarshal(raw, table); err != nil {
		return nil, fmt.Errorf("read the hub's table of %s: %w", q.kind.resource, err)
	}
	return table, nil
}

// watch calls each for every change after version until the server closes the
// stream; it returns the last version seen.
func (h *hub) watch(ctx context.Context, q question, version string, each func(kind string, t *metav1.Table) error) (string, error) {
	client, err := h.tables()
	if err != nil {
		return version, err
	}
	r := q.request(client).Param("watch", "true").Param("resourceVersion", version)
	if q.name != "" {
		r = r.Param("fieldSelector", "metadata.name="+q.name)
	}
	stream, err := r.Stream(ctx)
	if err != nil {
		return version, err
	}
	defer stream.Close()
	events := json.NewDecoder(stream)
	for {
		event := metav1.WatchEvent{}
		if err := events.Decode(&event); err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return version, ctx.Err()
			}
			return version, fmt.Errorf("watch %s: %w", q.kind.resource, err)
		}
		table := &metav1.Table{}
		if event.Type == "ERROR" {
			return "", nil // the version is too old to go on from
		}
		if err := json.Unmarshal(event.Object.Raw, table); err != nil {
			return version, fmt.Errorf("watch %s: %w", q.kind.resource, err)
		}
		if v := rowVersion(table); v != "" {
			version = v
		}
		if err := each(event.Type, table); err != nil {
			return version, err
		}
	}
}

func rowVersion(t *metav1.Table) string {
	if len(t.Rows) == 0 {
		return ""
	}
	return rowMeta(t.Rows[len(t.Rows)-1]).GetResourceVersion()
}

func rowMeta(row metav1.TableRow) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	_ = json.Unmarshal(row.Object.Raw, &u.Object) // without metadata only the project column is lost
	return u
}

// columns turns a server's table into a grid.
type columns struct {
	defs     []metav1.TableColumnDefinition
	wide     bool
	projects bool
}

func (c columns) shown() []int {
	var indexes []int
	for i, def := range c.defs {
		if def.Priority == 0 || c.wide {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

func (c columns) head() []string {
	var head []string
	if c.projects {
		head = append(head, "PROJECT")
	}
	for _, i := range c.shown() {
		head = append(head, strings.ToUpper(c.defs[i].Name))
	}
	return head
}

func (c columns) row(r metav1.TableRow) []cell {
	var cells []cell
	if c.projects {
		cells = append(cells, text(rowMeta(r).GetNamespace()))
	}
	for _, i := range c.shown() {
		value := ""
		if i < len(r.Cells) && r.Cells[i] != nil {
			value = fmt.Sprint(r.Cells[i])
		}
		cells = append(cells, state(value))
	}
	return cells
}
