// Package docs_test holds the documents to the programs: every YAML block is
// valid, every command line fits its program, every link and every named test
// is there.
package docs_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/cli"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/docs"
	"atoll.dev/atoll/internal/hub"
	"atoll.dev/atoll/internal/sandbox/command"
	"atoll.dev/atoll/internal/validate"
)

const root = "../.."

// documents are what people read first, by path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/*/*.md", "examples/*/README.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			found[name] = string(data)
		}
	}
	if len(found) < 4 {
		t.Fatalf("only %d documents found", len(found))
	}
	return found
}

func TestEveryYAMLBlockIsValid(t *testing.T) {
	checked := 0
	for name, text := range documents(t) {
		for _, b := range docs.Blocks(text) {
			if b.Language != "yaml" {
				continue
			}
			n, err := checkYAML(b.Text)
			if err != nil {
				t.Errorf("%s:%d: %v", name, b.Line, err)
			}
			checked += n
		}
	}
	if checked < 5 {
		t.Errorf("only %d objects found in the documents", checked)
	}
}

// checkYAML refuses what the hub would refuse, and tells how many objects it saw.
func checkYAML(text string) (int, error) {
	var errs []error
	reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for n := 0; ; n++ {
		data, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return n, errors.Join(errs...)
		}
		if err != nil {
			return n, err
		}
		errs = append(errs, checkObject(data))
	}
}

func checkObject(data []byte) error {
	u := &unstructured.Unstructured{}
	if err := sigsyaml.UnmarshalStrict(data, &u.Object); err != nil {
		return err
	}
	gvk := u.GroupVersionKind()
	if gvk.Group != v1alpha1.GroupVersion.Group {
		_, err := content.Parse([]content.File{{Name: "block.yaml", Data: data}}, content.Options{})
		return err
	}
	typed, err := v1alpha1Scheme().New(gvk)
	if err != nil {
		return err
	}
	if err := sigsyaml.UnmarshalStrict(data, typed); err != nil {
		return err
	}
	return validate.Object(gvk, u, nil)
}

func v1alpha1Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}

// check is one line of a document against the program that it names; what names
// none of ours is not ours to judge.
func check(words []string) (bool, error) {
	switch strings.TrimPrefix(words[0], "bin/") {
	case "atoll":
		return true, docs.Check(atoll(), words[1:])
	case "atoll-sandbox":
		return true, docs.Check(command.New(), words[1:])
	case "make":
		return true, checkTargets(words[1:])
	}
	return false, nil
}

func atoll() *cobra.Command {
	return cli.New(cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}, hub.Command())
}

func checkTargets(targets []string) error {
	data, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return err
	}
	for _, include := range regexp.MustCompile("(?m)^include (.+)$").FindAllSubmatch(data, -1) {
		more, err := os.ReadFile(filepath.Join(root, string(include[1])))
		if err != nil {
			return err
		}
		data = append(append(data, '\n'), more...)
	}
	for _, target := range targets {
		if strings.Contains(target, "=") {
			continue // a variable
		}
		if !regexp.MustCompile("(?m)^" + regexp.QuoteMeta(target) + ":").Match(data) {
			return errors.New("make has no target " + target)
		}
	}
	return nil
}

func TestEveryCommandLineFitsItsProgram(t *testing.T) {
	checked := 0
	for name, text := range documents(t) {
		var lines [][]string
		for _, b := range docs.Blocks(text) {
			if slices.Contains([]string{"", "sh", "console"}, b.Language) {
				lines = append(lines, docs.Commands(b)...)
			}
		}
		for _, span := range docs.Spans(text) {
			lines = append(lines, docs.Split(span)...)
		}
		for _, words := range lines {
			// A program's bare name is no command, and "..." leaves something out.
			if len(words) < 2 || slices.Contains(words, "...") {
				continue
			}
			ours, err := check(words)
			if err != nil {
				t.Errorf("%s: %s: %v", name, strings.Join(words, " "), err)
			}
			if ours {
				checked++
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d command lines found in the documents", checked)
	}
}

var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)#]+)[^)]*\)`)

func TestEveryLinkAndEveryNamedTestIsThere(t *testing.T) {
	tests := 0
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[2], "://") {
				continue
			}
			data, err := os.ReadFile(filepath.Join(root, filepath.Dir(name), m[2]))
			if err != nil && !isFolder(filepath.Join(root, filepath.Dir(name), m[2])) {
				t.Errorf("%s: [%s]: %v", name, m[1], err)
			}
			if strings.HasPrefix(m[1], "Test") {
				tests++
				if !bytes.Contains(data, []byte("func "+m[1]+"(t *testing.T)")) {
					t.Errorf("%s: %s has no test %s", name, m[2], m[1])
				}
			}
		}
	}
	if tests < 10 {
		t.Errorf("only %d tests are named in the documents", tests)
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func TestEveryVerbIsInTheReference(t *testing.T) {
	text := documents(t)["docs/REFERENCE.md"]
	for _, verb := range atoll().Commands() {
		if verb.Hidden || slices.Contains([]string{"help", "completion"}, verb.Name()) {
			continue
		}
		if !strings.Contains(text, "`atoll "+verb.Name()) {
			t.Errorf("docs/REFERENCE.md does not name %s", verb.Name())
		}
	}
}
