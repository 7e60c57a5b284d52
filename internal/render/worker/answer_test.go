package worker

import (
	"strings"
	"testing"
)

func TestAnAnswerIsNoLargerThanAPersonReads(t *testing.T) {
	p := pool(t, Options{})
	_, err := p.Render(t.Context(), chart(t, `{{ fail (repeat 50000000 "x") }}`), in)
	if err == nil || len(err.Error()) > 16<<10 || !strings.Contains(err.Error(), "xxx") {
		t.Errorf("an error has %d bytes", len(err.Error()))
	}
	for name, template := range map[string]string{
		"a long question":    `{{ .Capabilities.APIVersions.Has (repeat 50000000 "x") }}`,
		"very many":          `{{ range until 400000 }}{{ $.Capabilities.APIVersions.Has (printf "a/%d" .) }}{{ end }}`,
		"a hook's long name": "kind: Job\nmetadata:\n  name: {{ repeat 20000000 \"x\" }}\n  annotations: {helm.sh/hook: test}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := p.Render(t.Context(), chart(t, template), in); err == nil || !strings.Contains(err.Error(), "beside its manifests") {
				t.Errorf("got %.200v", err)
			}
		})
	}
	if _, err := p.Render(t.Context(), chart(t, good), in); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
