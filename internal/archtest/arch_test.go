package archtest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// graph is what every package imports, outside tests.
type graph map[string][]string

func load(t *testing.T) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list the imports: %v", err)
	}
	g := graph{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		g[fields[0]] = fields[1:]
	}
	return g
}

// own are the packages of this module, without its prefix.
func (g graph) own() []string {
	var out []string
	for path := range g {
		if name, ok := strings.CutPrefix(path, module); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// path is the shortest chain of imports from a package to one that matches, or
// nil. Unless deep, only the first step counts.
func (g graph) path(from string, match func(string) bool, deep bool) []string {
	type step struct {
		name string
		back *step
	}
	seen, queue := map[string]bool{from: true}, []*step{{name: from}}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, next := range g[at.name] {
			if match(next) {
				chain := []string{next}
				for s := at; s != nil; s = s.back {
					chain = append(chain, s.name)
				}
				slices.Reverse(chain)
				return chain
			}
			if deep && !seen[next] {
				seen[next] = true
				queue = append(queue, &step{next, at})
			}
		}
	}
	return nil
}

func (a arrow) starts(name string) bool {
	return !slices.Contains(a.but, name) && slices.ContainsFunc(a.from, func(p string) bool { return p == "*" || matches(p, name) })
}

func (a arrow) forbids(path string) bool {
	return slices.ContainsFunc(a.not, func(p string) bool {
		if own, ok := strings.CutPrefix(p, "./"); ok {
			p = module + own
		}
		return matches(p, path)
	})
}

func matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(path+"/", prefix)
	}
	return pattern == path
}

func TestImportsFollowTheArrows(t *testing.T) {
	g := load(t)
	own := g.own()
	for _, a := range arrows {
		for _, name := range own {
			if !a.starts(name) {
				continue
			}
			if chain := g.path(module+name, a.forbids, a.deep); chain != nil {
				t.Errorf("%s must not import %s: %s\n  by way of %s", name, chain[len(chain)-1], a.why, strings.Join(chain, " → "))
			}
		}
	}
}

// A package that decides stands on others that do, and on the ones that only
// name things.
func TestDecidingPackagesStandOnEachOther(t *testing.T) {
	g := load(t)
	for _, name := range deciding {
		for _, imported := range g[module+name] {
			if other, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(deciding, other) {
				t.Errorf("%s decides, so it must not import %s, which does", name, other)
			}
		}
	}
}

// A rule about a package that is gone, or was renamed, holds nobody.
func TestEveryArrowIsAboutSomething(t *testing.T) {
	own := load(t).own()
	for _, a := range arrows {
		for _, p := range slices.Concat(a.from, a.but) {
			if p != "*" && !slices.ContainsFunc(own, func(name string) bool { return matches(p, name) }) {
				t.Errorf("no package is %s (%s)", p, a.why)
			}
		}
	}
}

func TestTheTestSeesViolations(t *testing.T) {
	g := graph{module + "a": {module + "b"}, module + "b": {"k8s.io/kubernetes/pkg/x"}}
	deep := arrow{not: []string{"k8s.io/kubernetes/..."}, deep: true}
	if chain := g.path(module+"a", deep.forbids, true); len(chain) != 3 {
		t.Errorf("the way to a forbidden import is %q", chain)
	}
	if chain := g.path(module+"a", deep.forbids, false); chain != nil {
		t.Errorf("an import of an import counts as direct: %q", chain)
	}
	if !(arrow{not: []string{"./b"}}).forbids(module + "b") {
		t.Error("./ does not mean this module")
	}
}
