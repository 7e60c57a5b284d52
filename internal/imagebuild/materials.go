package imagebuild

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// MaterialsType is the media type of a bill of materials.
const MaterialsType = "application/vnd.cyclonedx+json"

// materials lists what is compiled into a program, from what the compiler
// recorded in it. It has neither time nor serial number, so that the same
// program has the same document. Licenses are not in a program, so none are
// claimed.
func (s Spec) materials(p program) ([]byte, error) {
	main := s.component(p)
	components := []cdx.Component{toolchain(p.info)}
	for _, m := range p.info.Deps {
		components = append(components, module(m))
	}
	refs := make([]string, len(components))
	for i := range components {
		refs[i] = components[i].BOMRef
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &main}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	var b bytes.Buffer
	// 1.6 is what scanners of today read.
	if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encode the bill of materials of %s: %w", p.path, err)
	}
	return b.Bytes(), nil
}

func (s Spec) component(p program) cdx.Component {
	purl := packageURL(p.info.Main.Path, s.Version) + "#cmd/" + s.Name
	return cdx.Component{
		BOMRef: purl, PackageURL: purl, Type: cdx.ComponentTypeApplication,
		Name: s.Name, Version: s.Version, Description: s.Description,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: p.sha256}},
		Properties: &[]cdx.Property{
			{Name: "go:package", Value: p.info.Path},
			{Name: "platform", Value: p.platform.String()},
		},
	}
}

func toolchain(info *debug.BuildInfo) cdx.Component {
	version, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	purl := packageURL("stdlib", version)
	return cdx.Component{BOMRef: purl, PackageURL: purl, Type: cdx.ComponentTypeLibrary, Name: "stdlib", Version: version}
}

// module is the module that was compiled, which is the replacement where there
// is one.
func module(m *debug.Module) cdx.Component {
	if m.Replace != nil {
		m = m.Replace
	}
	purl := packageURL(m.Path, m.Version)
	c := cdx.Component{BOMRef: purl, PackageURL: purl, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version}
	// "h1:" is the SHA-256 of a module's file list, as go.sum has it.
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) == 32 {
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	}
	return c
}

// packageURL is a module in the purl specification's type "golang".
func packageURL(path, version string) string {
	out := "pkg:golang/" + path
	if version != "" {
		out += "@" + url.QueryEscape(version)
	}
	return out
}
