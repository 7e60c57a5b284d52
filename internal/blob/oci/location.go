package oci

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"oras.land/oras-go/v2/registry"
)

// Scheme begins every location.
const Scheme = "oci://"

// Location is where in which registry content lies.
type Location struct {
	// Host is host or host:port.
	Host string
	// Path is the repository below which the projects' lie.
	Path string
	// PlainHTTP is for registries without TLS.
	PlainHTTP bool
}

// Parse reads oci://HOST[:PORT]/PATH[?plainHTTP=true].
func Parse(text string) (Location, error) {
	l, err := parse(text)
	if err != nil {
		return Location{}, fmt.Errorf("%q is not oci://HOST[:PORT]/REPOSITORY[?plainHTTP=true]: %w", text, err)
	}
	return l, nil
}

func parse(text string) (Location, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Location{}, err
	}
	l := Location{Host: u.Host, Path: strings.Trim(u.Path, "/")}
	switch {
	case u.Scheme+"://" != Scheme:
		return l, fmt.Errorf("it does not begin with %s", Scheme)
	case u.User != nil:
		return l, fmt.Errorf("it holds a user; credentials come from docker's config.json or the environment")
	case u.Fragment != "":
		return l, fmt.Errorf("it has a fragment")
	}
	for key, values := range u.Query() {
		if key != "plainHTTP" {
			return l, fmt.Errorf("there is no option %q", key)
		}
		if l.PlainHTTP, err = strconv.ParseBool(values[0]); err != nil {
			return l, fmt.Errorf("plainHTTP is true or false, not %q", values[0])
		}
	}
	ref := registry.Reference{Registry: l.Host, Repository: l.Path}
	if err := ref.ValidateRegistry(); err != nil {
		return l, err
	}
	return l, ref.ValidateRepository()
}

func (l Location) String() string { return Scheme + l.Host + "/" + l.Path }
