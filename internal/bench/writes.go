package bench

import (
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Writes are the requests by which an API server's store was written, by
// resource, as "applications", or subresource, as "applications/status".
type Writes map[string]int64

// requests is the API server's own count of what it answered.
const requests = "apiserver_request_total"

// CountWrites reads them from an API server's metrics. What was refused, tried
// for show or only reads counts for nothing, nor do reviews, which are answered
// and not stored.
func CountWrites(metrics io.Reader) (Writes, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(metrics)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of an API server: %w", err)
	}
	family, ok := families[requests]
	if !ok {
		return nil, fmt.Errorf("read the metrics of an API server: they lack %s", requests)
	}
	writes := Writes{}
	for _, m := range family.GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if name := written(labels); name != "" {
			writes[name] += int64(m.GetCounter().GetValue())
		}
	}
	return writes, nil
}

// written is what a request of these labels wrote, "" for nothing.
func written(labels map[string]string) string {
	resource := labels["resource"]
	switch labels["verb"] {
	case "GET", "LIST", "WATCH", "WATCHLIST", "CONNECT", "PROXY", "HEAD", "OPTIONS":
		return ""
	}
	if resource == "" || labels["dry_run"] != "" || !strings.HasPrefix(labels["code"], "2") || strings.HasSuffix(resource, "reviews") {
		return ""
	}
	if sub := labels["subresource"]; sub != "" {
		return resource + "/" + sub
	}
	return resource
}

// Since are the writes after before was counted.
func (w Writes) Since(before Writes) Writes {
	since := Writes{}
	for name, n := range w {
		if d := n - before[name]; d > 0 {
			since[name] = d
		}
	}
	return since
}

// Take is how many writes there are of names and how many of all the rest.
func (w Writes) Take(names ...string) (of, rest int64) {
	for name, n := range w {
		rest += n
		for _, wanted := range names {
			if name == wanted {
				of, rest = of+n, rest-n
			}
		}
	}
	return of, rest
}
