package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const hostile = "fine\x1b[2J\x1b]0;owned\a\r\u009b31m\u202e\nroot   Healthy"

func TestWhatOthersSayMovesNoTerminal(t *testing.T) {
	for _, colored := range []ink{false, true} {
		var out bytes.Buffer
		g := grid{head: []string{"CLUSTER", "HEALTH"}}
		g.add(text("a"), state("Healthy"))
		g.add(text("b"), text(hostile))
		if err := g.write(screen{&out, colored}, colored); err != nil {
			t.Fatal(err)
		}
		if strings.Count(out.String(), "\n") != 3 || strings.ContainsAny(out.String(), "\a\r\u009b\u202e") || strings.Contains(out.String(), "\x1b[2J") || !strings.Contains(out.String(), `fine\x1b[2J\x1b]0;owned\x07`) {
			t.Errorf("with ink %t: %q", colored, out.String())
		}
		if green := strings.Contains(out.String(), "\x1b[32mHealthy\x1b[0m"); green != bool(colored) {
			t.Errorf("with ink %t our own paint is there: %t", colored, green)
		}
	}
	var said bytes.Buffer
	c := &console{Streams: Streams{Err: &said}}
	c.say("a says %s", hostile)
	if strings.ContainsAny(said.String(), "\x1b\a\r") {
		t.Errorf("said: %q", said.String())
	}
}

func TestWhatIsReadByProgramsIsExact(t *testing.T) {
	var out bytes.Buffer
	if err := encode(screen{&out, false}, "json", map[string]string{"message": hostile}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `fine\u001b[2J\u001b]0;owned\u0007\r`) || strings.Contains(out.String(), `\x1b`) {
		t.Errorf("got %s", out.String())
	}
}

func TestALongNameIsNotToldWhole(t *testing.T) {
	name := strings.Repeat("x", 5000)
	got := sentence(apierrors.NewNotFound(schema.GroupResource{Group: "atoll.dev", Resource: "applications"}, name))
	if len(got) > 200 || !strings.Contains(got, "xxx…(5002 characters)") || !strings.Contains(got, "not found") {
		t.Errorf("got %s", got)
	}
	if got := sentence(fmt.Errorf("no cluster %q, of %s", "eu-1", strings.Repeat("a b, ", 200))); strings.Contains(got, "characters") {
		t.Errorf("short words are clipped: %s", got)
	}
}
