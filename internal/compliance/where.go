package compliance

import (
	"bytes"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/report"
)

// Places tells where objects stand in the files that they were read from.
type Places struct{ nodes map[report.ObjectRef]located }

type located struct {
	file string
	node *yamlv3.Node
}

// Locate looks through files that Read could read.
func Locate(files []content.File) Places {
	p := Places{nodes: map[report.ObjectRef]located{}}
	for _, f := range files {
		for d := yamlv3.NewDecoder(bytes.NewReader(f.Data)); ; {
			var document yamlv3.Node
			if d.Decode(&document) != nil {
				break // the end; what cannot be read has been refused
			}
			if len(document.Content) > 0 {
				p.add(f.Name, document.Content[0], maxLists)
			}
		}
	}
	return p
}

// maxLists bounds lists within lists, as Read does.
const maxLists = 5

func (p Places) add(file string, n *yamlv3.Node, depth int) {
	if n.Kind != yamlv3.MappingNode || depth == 0 {
		return
	}
	if items := child(n, "items"); items != nil && items.Kind == yamlv3.SequenceNode {
		for _, item := range items.Content {
			p.add(file, item, depth-1)
		}
	}
	group, _, grouped := strings.Cut(text(child(n, "apiVersion")), "/")
	if !grouped {
		group = ""
	}
	metadata := child(n, "metadata")
	ref := report.ObjectRef{Group: group, Kind: text(child(n, "kind")), Namespace: text(child(metadata, "namespace")), Name: text(child(metadata, "name"))}
	if _, twice := p.nodes[ref]; !twice {
		p.nodes[ref] = located{file, n}
	}
}

// Object is the file and line of an object; "" when it is in none.
func (p Places) Object(ref report.ObjectRef) (file string, line int) {
	at, ok := p.find(ref)
	if !ok {
		return "", 0
	}
	return at.file, at.node.Line
}

// Fault is the file and line of what is wrong; "" when it is in none.
func (p Places) Fault(f Fault) (file string, line int) {
	at, ok := p.find(report.ObjectRef{Group: admissionGroup, Kind: f.Kind, Name: f.Name})
	if !ok {
		return "", 0
	}
	node := at.node
	for _, step := range strings.FieldsFunc(f.Field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		next := child(node, step)
		if i, err := strconv.Atoi(step); err == nil && node.Kind == yamlv3.SequenceNode && i < len(node.Content) {
			next = node.Content[i]
		}
		if next == nil {
			return at.file, node.Line
		}
		node = next
	}
	line = node.Line
	if node.Style == yamlv3.LiteralStyle && f.Line > 0 {
		line += f.Line // the block begins below its mark
	}
	return at.file, line
}

// find takes an object by its namespace, or as one that was written without.
func (p Places) find(ref report.ObjectRef) (located, bool) {
	ref.Version = ""
	at, ok := p.nodes[ref]
	if !ok {
		ref.Namespace = ""
		at, ok = p.nodes[ref]
	}
	return at, ok
}

func child(n *yamlv3.Node, key string) *yamlv3.Node {
	if n == nil || n.Kind != yamlv3.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yamlv3.Node) string {
	if n == nil || n.Kind != yamlv3.ScalarNode {
		return ""
	}
	return n.Value
}
