package gitserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Repository is one that is served, with a working copy to commit from.
type Repository struct {
	bare, work string
}

// environment keeps the machine's settings out.
func environment() []string {
	return append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
}

// Create makes an empty repository, whose working copy lies in a folder of work.
func (s *Server) Create(name, work string) (*Repository, error) {
	r := &Repository{bare: filepath.Join(s.dir, name+".git"), work: filepath.Join(work, name)}
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main", r.bare},
		{"--git-dir=" + r.bare, "config", "uploadpack.allowFilter", "true"},
		{"--git-dir=" + r.bare, "config", "uploadpack.allowReachableSHA1InWant", "true"},
		{"init", "--quiet", "--initial-branch=main", r.work},
		{"-C", r.work, "remote", "add", "origin", r.bare},
	} {
		if _, err := git(args...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Commit writes files, removes those whose text is "", and pushes a commit of
// it all to main, whatever is there. It returns the commit.
func (r *Repository) Commit(message string, files map[string]string) (string, error) {
	for name, text := range files {
		path := filepath.Join(r.work, name)
		if text == "" {
			if err := os.RemoveAll(path); err != nil {
				return "", err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{{"add", "--all"}, {"commit", "--quiet", "--allow-empty", "--message", message}} {
		if _, err := r.Git(args...); err != nil {
			return "", err
		}
	}
	return r.Push()
}

// Push makes main what the working copy has, and returns its commit.
func (r *Repository) Push() (string, error) {
	if _, err := r.Git("push", "--quiet", "--force", "--tags", "origin", "HEAD:main"); err != nil {
		return "", err
	}
	return r.Git("rev-parse", "HEAD")
}

// Git runs git in the working copy and returns what it prints.
func (r *Repository) Git(args ...string) (string, error) {
	return git(append([]string{"-C", r.work}, args...)...)
}

// Dir is the working copy.
func (r *Repository) Dir() string { return r.work }

func git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
