package helm

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/mitchellh/copystructure"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/engine"
)

// settled is the output, if it is the same whatever random functions and the
// clock answer. A chart that never asks them is rendered once: all else that
// its functions read is the same each time.
func (p *press) settled() (map[string]string, error) {
	plain := &dice{other: func(int) bool { return false }, stop: -1}
	output, err := p.run(plain)
	if err != nil || len(plain.throws) == 0 {
		return output, err
	}
	second, err := p.run(&dice{other: func(int) bool { return true }, stop: -1})
	if err == nil && same(output, second) {
		return output, nil
	}
	return nil, p.unsettled(plain.throws, output)
}

// maxSearched bounds how many calls are tried one by one.
const maxSearched = 100

// unsettled finds the call that the output depends on.
func (p *press) unsettled(throws []string, output map[string]string) error {
	guilty := 0
	for n := range min(len(throws), maxSearched) {
		other, err := p.run(&dice{other: func(throw int) bool { return throw == n }, stop: -1})
		if err != nil || !same(output, other) {
			guilty = n
			break
		}
	}
	_, err := p.run(&dice{other: func(int) bool { return false }, stop: guilty})
	return fmt.Errorf("%s: %s gives something else each time, so every render would be a change to deliver: give the value in values or as a Secret of its own",
		place(err), throws[guilty])
}

// position is "template: web/templates/secret.yaml:7:13:" anywhere in an error.
var position = regexp.MustCompile(`([^\s:()]+:\d+)(:\d+)?[:)]?`)

// place is the file and line at which a render failed.
func place(err error) string {
	if err == nil {
		return "a template"
	}
	// The innermost is last: where a named template calls the function.
	text, _, _ := strings.Cut(err.Error(), errStopped.Error())
	if found := position.FindAllStringSubmatch(text, -1); len(found) > 0 {
		return found[len(found)-1][1]
	}
	return "a template"
}

// run renders once. Templates may write into the values, so each run has its own.
func (p *press) run(d *dice) (map[string]string, error) {
	values, err := copystructure.Copy(p.values)
	if err != nil {
		return nil, fmt.Errorf("copy the values: %w", err)
	}
	asked := &capabilities{record: p.record}
	defer asked.close()
	top := common.Values{
		"Values":       values,
		"Capabilities": asked,
		"Release": map[string]any{
			"Name": p.options.Release, "Namespace": p.options.Namespace, "Service": "Helm",
			"Revision": 1, "IsInstall": true, "IsUpgrade": false,
		},
	}
	functions := d.functions()
	functions["lookup"] = p.lookup
	e := engine.Engine{CustomTemplateFuncs: template.FuncMap(functions)}
	output, err := e.Render(p.chart, top)
	if err != nil {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	return output, nil
}

func (p *press) lookup(string, string, string, string) (map[string]any, error) {
	p.lookups = true
	return map[string]any{}, nil
}
