package podprocess

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// program is the name of the agent's binary, and of its image's repository.
const program = "atoll-agent"

// images are the programs that a cluster's nodes can run. They are taken from
// a folder, as images are from a registry, and then kept: what was built anew
// since changes no pod that runs.
type images struct {
	from, kept string
	mu         sync.Mutex
}

// pull is the program of an image. Its tag selects atoll-agent-TAG, or
// atoll-agent where the tag is what that calls itself, latest or dev.
func (i *images) pull(ctx context.Context, image string, policy corev1.PullPolicy) (string, error) {
	tag, isOurs := tagOf(image)
	if !isOurs {
		return "", fmt.Errorf("image %s is not %s", image, program)
	}
	if tag == "" {
		return "", fmt.Errorf("image %s has no tag, by which the sandbox chooses the program", image)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	kept := filepath.Join(i.kept, program+"-"+tag)
	if policy != corev1.PullAlways {
		if _, err := os.Stat(kept); err == nil {
			return kept, nil
		}
	}
	if policy == corev1.PullNever {
		return "", fmt.Errorf("image %s is not on the node, and its pull policy is Never", image)
	}
	found, err := i.find(ctx, tag)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(i.kept, 0o700); err != nil {
		return "", err
	}
	return kept, keep(found, kept)
}

func (i *images) find(ctx context.Context, tag string) (string, error) {
	exact := filepath.Join(i.from, program+"-"+tag)
	if _, err := os.Stat(exact); err == nil {
		return exact, nil
	}
	plain := filepath.Join(i.from, program)
	if _, err := os.Stat(plain); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("neither %s nor %s is there: build it", exact, plain)
	} else if err != nil {
		return "", err
	}
	if tag == "latest" || tag == "dev" {
		return plain, nil
	}
	out, err := exec.CommandContext(ctx, plain, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", plain, err)
	}
	words := strings.Fields(string(bytes.TrimSpace(out)))
	if len(words) > 0 && words[len(words)-1] == tag {
		return plain, nil
	}
	return "", fmt.Errorf("%s is not there, and %s is %q", exact, plain, bytes.TrimSpace(out))
}

// keep makes a name of its own for the program, which outlives the one it was
// found by, or a copy where that is on another file system.
func keep(found, kept string) error {
	fresh := kept + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(found, fresh); err != nil {
		if err := duplicate(found, fresh); err != nil {
			return fmt.Errorf("keep %s: %w", found, err)
		}
	}
	return os.Rename(fresh, kept)
}

func duplicate(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
