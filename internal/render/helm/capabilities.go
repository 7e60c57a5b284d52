package helm

import (
	"reflect"
	"sync"

	"github.com/mitchellh/copystructure"
	"helm.sh/helm/v4/pkg/chart/common"

	"atoll.dev/atoll/internal/render/class"
)

// capabilities is .Capabilities. It has methods where Helm's has fields, which
// reads the same in a template, and so knows what was asked.
type capabilities struct {
	record *class.Record
	opened []*string // the lists that were handed out
}

func init() {
	// A template may copy its context (deepCopy .), and the copy must go on
	// telling the same record.
	for _, t := range []any{&capabilities{}, &kubeVersion{}} {
		copystructure.ShallowCopiers[reflect.TypeOf(t)] = struct{}{}
	}
}

// KubeVersion is .Capabilities.KubeVersion.
func (c *capabilities) KubeVersion() *kubeVersion { return &kubeVersion{c.record} }

// HelmVersion is .Capabilities.HelmVersion, of the library.
func (c *capabilities) HelmVersion() any { return common.DefaultCapabilities.HelmVersion }

// MarshalJSON is what toJson and toYaml make of it.
func (c *capabilities) MarshalJSON() ([]byte, error) {
	c.record.Ask(class.AskAll, "")
	return []byte(`"` + c.record.Ask(class.AskVersion, "") + `"`), nil
}

type kubeVersion struct{ record *class.Record }

// Version is .Capabilities.KubeVersion.Version.
func (v *kubeVersion) Version() string { return v.record.Ask(class.AskVersion, "") }

// GitVersion is the former name of Version.
func (v *kubeVersion) GitVersion() string { return v.Version() }

// Major is the "1" of "v1.33.4".
func (v *kubeVersion) Major() string { return v.record.Ask(class.AskMajor, "") }

// Minor is the "33" of "v1.33.4".
func (v *kubeVersion) Minor() string { return v.record.Ask(class.AskMinor, "") }

// String is what a template prints of it.
func (v *kubeVersion) String() string { return v.record.Ask(class.AskNormal, "") }

// MarshalJSON is what toJson and toYaml make of it.
func (v *kubeVersion) MarshalJSON() ([]byte, error) { return []byte(`"` + v.Version() + `"`), nil }

// apiVersions has to be a list of strings, since templates also range over it
// and hand it to list functions. Such a value has no room for the record, so
// the address of its first element leads there.
type apiVersions []string

type opening struct {
	record *class.Record
	asked  bool
}

var openings sync.Map // *string → *opening

// APIVersions is .Capabilities.APIVersions. One that is never asked by Has was
// read as a whole.
func (c *capabilities) APIVersions() apiVersions {
	list := append(apiVersions(c.record.Served()), "")
	openings.Store(&list[0], &opening{record: c.record})
	c.opened = append(c.opened, &list[0])
	return list[:len(list)-1]
}

// Has tells whether the cluster serves a version or "group/version/Kind".
func (v apiVersions) Has(name string) bool {
	found, ok := openings.Load(&v[:1][0])
	if !ok {
		return false // a list from an earlier render, which no template can hold
	}
	o := found.(*opening)
	o.asked = true
	return o.record.Ask(class.AskHas, name) == "true"
}

// close records lists that were read without Has.
func (c *capabilities) close() {
	for _, at := range c.opened {
		if found, ok := openings.LoadAndDelete(at); ok && !found.(*opening).asked {
			c.record.Ask(class.AskAll, "")
		}
	}
}
