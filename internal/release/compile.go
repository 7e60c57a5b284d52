package release

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is one that a release has an image of.
type program struct {
	name, description string
}

var programs = []program{
	{"atoll-agent", "Atoll's agent: keeps a member cluster as its hub says"},
	{"atoll", "Atoll's hub and command line: runs a fleet of Kubernetes clusters"},
}

// compiler builds programs so that neither the folder nor the checkout's state
// leaves a trace in them.
type compiler struct {
	// source is the module's root.
	source  string
	ldflags string
	say     io.Writer
}

func (c compiler) build(ctx context.Context, name, platform, out string) error {
	goos, goarch, ok := strings.Cut(platform, "/")
	if !ok || goos != "linux" {
		return fmt.Errorf("build %s: the platform %q is not linux/ARCHITECTURE", name, platform)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", c.ldflags, "-o", out, "./cmd/"+name)
	cmd.Dir = c.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	cmd.Stdout, cmd.Stderr = c.say, c.say
	fmt.Fprintf(c.say, "go build %s for %s\n", name, platform)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s for %s: %w", name, platform, err)
	}
	return nil
}
