// Package generate makes the objects of an application that is an image alone:
// a Deployment, a Service, and what lets people reach it by a host name. It
// decides their names, labels and how little their pods may do; where they go and
// what becomes of them it leaves to the Application that holds them.
//
// What it wrote it can read back (Read), so that a second deploy says only what
// is to be different.
package generate

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// Options are an image and how it runs.
type Options struct {
	Name  string
	Image string
	// Port is where the container listens for HTTP, or 0: then nothing is served.
	Port     int32
	Replicas int32
	// Host is the name under which the port is reached from outside, or "".
	Host string
	// Gateway is NAME or NAMESPACE/NAME of the Gateway that an HTTPRoute joins;
	// without it Host makes an Ingress.
	Gateway string
	// IngressClass is the Ingress's; "" leaves it to the cluster's default.
	IngressClass string
	// Probe is the path that tells whether the container is ready, or "".
	Probe string
	Env   map[string]string
	// CPU and Memory are what a pod is sure to get.
	CPU, Memory string
	// Root lets the container run as root, which the restricted level of Pod
	// Security forbids and images that were not made for it need.
	Root bool
}

// Default is what an image gets that nothing else is said of.
func Default(name string) Options {
	return Options{Name: name, Replicas: 1, CPU: "100m", Memory: "128Mi"}
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// Check names everything wrong by the flag that says it.
func (o Options) Check() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(len(validation.IsDNS1035Label(o.Name)) > 0, "%q cannot name a Service: lower-case letters, digits and '-', a letter first", o.Name)
	wrong(o.Image == "" || strings.ContainsAny(o.Image, " \t\n"), "--image %q is no image", o.Image)
	wrong(o.Port < 0 || o.Port > 65535, "--port %d: ports go from 1 to 65535", o.Port)
	wrong(o.Replicas < 0 || o.Replicas > 10000, "--replicas %d: give 0 to 10000", o.Replicas)
	wrong(o.Host != "" && o.Port == 0, "--host needs --port: where does the container listen?")
	wrong(o.Probe != "" && o.Port == 0, "--probe needs --port: where does the container listen?")
	wrong(o.Host != "" && len(validation.IsDNS1123Subdomain(strings.TrimPrefix(o.Host, "*."))) > 0, "--host %q is no host name", o.Host)
	wrong(o.Probe != "" && !strings.HasPrefix(o.Probe, "/"), "--probe %q is a path: it begins with /", o.Probe)
	wrong(o.Gateway != "" && o.IngressClass != "", "--gateway makes an HTTPRoute and --ingress-class is of an Ingress: give one of them")
	wrong(o.Host == "" && o.Gateway+o.IngressClass != "", "--gateway and --ingress-class say how a host is reached: give --host")
	for _, part := range strings.SplitN(o.Gateway, "/", 2) {
		wrong(o.Gateway != "" && len(validation.IsDNS1123Subdomain(part)) > 0, "--gateway %q is not NAME or NAMESPACE/NAME", o.Gateway)
	}
	wrong(o.IngressClass != "" && len(validation.IsDNS1123Subdomain(o.IngressClass)) > 0, "--ingress-class %q is no name", o.IngressClass)
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		wrong(!variable.MatchString(name), "--env %q: no variable can bear this name", name)
		wrong(!writable(o.Env[name]), "--env %s: the value has characters that YAML cannot hold: give it by a file of a ConfigMap", name)
	}
	for flag, amount := range map[string]string{"cpu": o.CPU, "memory": o.Memory} {
		q, err := resource.ParseQuantity(amount)
		wrong(err != nil || q.Sign() <= 0, "--%s %q is no amount, such as 100m or 128Mi", flag, amount)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// writable tells what comes back as it was written.
func writable(value string) bool {
	data, err := yaml.Marshal(value)
	if err != nil {
		return false
	}
	back := ""
	return yaml.Unmarshal(data, &back) == nil && back == value
}

// Objects are what runs the image, in the order in which people read them.
func (o Options) Objects() []map[string]any {
	all := []map[string]any{o.deployment()}
	if o.Port == 0 {
		return all
	}
	all = append(all, o.service())
	switch {
	case o.Host == "":
	case o.Gateway != "":
		all = append(all, o.route())
	default:
		all = append(all, o.ingress())
	}
	return all
}

// YAML is the objects as documents of one file.
func (o Options) YAML() ([]byte, error) {
	var docs [][]byte
	for _, object := range o.Objects() {
		data, err := yaml.Marshal(object)
		if err != nil {
			return nil, fmt.Errorf("encode the %s of %s: %w", object["kind"], o.Name, err)
		}
		docs = append(docs, data)
	}
	return bytes.Join(docs, []byte("---\n")), nil
}
