package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/tree"
)

// A chart of twenty objects, rendered here and in a worker: what a process of
// its own costs, once it runs.
func BenchmarkRender(b *testing.B) {
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "templates"), 0o700); err != nil {
		b.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	write("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n")
	write("templates/_labels.tpl", `{{ define "labels" }}{app: {{ .Release.Name }}, chart: {{ .Chart.Name }}-{{ .Chart.Version }}}{{ end }}`)
	for n := range 20 {
		write(fmt.Sprintf("templates/%d.yaml", n), fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}-%d\n  labels: {{ include \"labels\" . }}\n"+
			"spec:\n  replicas: {{ .Values.replicas | default 2 }}\n  template:\n    metadata: {labels: {{ include \"labels\" . }}}\n    spec:\n      containers:\n        - {name: web, image: \"nginx:{{ .Chart.Version }}\"}\n", n))
	}
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			files, end, err := tree.Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := render.Render(files, in); err != nil {
				b.Fatal(err)
			}
			_ = end()
		}
	})
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	p := NewPool(Options{Command: []string{self, Verb}})
	defer p.Close()
	b.Run("worker", func(b *testing.B) {
		for b.Loop() {
			if _, err := p.Render(b.Context(), dir, in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
