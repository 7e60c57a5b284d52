package cli

import (
	"context"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/generate"
)

// imageOptions are the flags of an image alone.
type imageOptions struct {
	ref, host, gateway, class, probe, cpu, memory string
	port, replicas                                int32
	env                                           []string
	root, export                                  bool
	// given tells whether a flag was typed.
	given func(flag string) bool
}

// imageFlags are those that mean nothing without --image.
var imageFlags = []string{"port", "replicas", "host", "gateway", "ingress-class", "probe", "env", "cpu", "memory", "as-root", "export"}

func (o *imageOptions) addFlags(f *pflag.FlagSet) {
	plain := generate.Default("")
	f.StringVar(&o.ref, "image", "", "an image alone, instead of manifests")
	f.Int32Var(&o.port, "port", 0, "where the image's container listens; makes a Service")
	f.Int32Var(&o.replicas, "replicas", plain.Replicas, "pods of the image on each cluster")
	f.StringVar(&o.host, "host", "", "host name under which the port is reached; makes an Ingress")
	f.StringVar(&o.gateway, "gateway", "", "with --host: [NAMESPACE/]NAME of a Gateway; makes an HTTPRoute instead")
	f.StringVar(&o.class, "ingress-class", "", "with --host: class of the Ingress (default: the cluster's)")
	f.StringVar(&o.probe, "probe", "", "path that answers when the image's container is ready")
	f.StringArrayVar(&o.env, "env", nil, "KEY=VALUE for the image's container, in clear; repeatable")
	f.StringVar(&o.cpu, "cpu", plain.CPU, "processor time that each pod of the image is sure of")
	f.StringVar(&o.memory, "memory", plain.Memory, "memory that each pod of the image is sure of")
	f.BoolVar(&o.root, "as-root", false, "let the image's container run as root, as some images expect")
	f.BoolVar(&o.export, "export", false, "print the objects of the image, and ask no hub")
}

// any is a flag that was typed of those that need --image, or "".
func (o *imageOptions) any() string {
	for _, flag := range imageFlags {
		if o.given(flag) {
			return flag
		}
	}
	return ""
}

// over is what runs now with what the flags say.
func (o *imageOptions) over(now generate.Options) (generate.Options, error) {
	now.Image = o.ref
	set := map[string]func(){
		"port": func() { now.Port = o.port }, "replicas": func() { now.Replicas = o.replicas },
		"host": func() { now.Host = o.host }, "probe": func() { now.Probe = o.probe },
		"gateway": func() { now.Gateway, now.IngressClass = o.gateway, "" }, "ingress-class": func() { now.IngressClass, now.Gateway = o.class, "" },
		"cpu": func() { now.CPU = o.cpu }, "memory": func() { now.Memory = o.memory }, "as-root": func() { now.Root = o.root },
	}
	if o.gateway != "" && o.class != "" {
		return now, wrong("--gateway makes an HTTPRoute and --ingress-class is of an Ingress: give one of them")
	}
	for flag, apply := range set {
		if o.given(flag) {
			apply()
		}
	}
	for _, pair := range o.env {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return now, wrong("--env %q is not KEY=VALUE", pair)
		}
		if now.Env == nil {
			now.Env = map[string]string{}
		}
		now.Env[key] = value
	}
	if err := now.Check(); err != nil {
		return now, wrong("%v", err)
	}
	return now, nil
}

// exportImage prints what a first deploy would deliver.
func (c *console) exportImage(name string, o imageOptions) error {
	made, err := o.over(generate.Default(name))
	if err != nil {
		return err
	}
	data, err := made.YAML()
	if err != nil {
		return err
	}
	_, err = c.Out.Write(data)
	return err
}

// imageSource keeps of what runs what the flags do not speak of. Its objects
// stand in the application itself, where people can read them.
func (o *deployOptions) imageSource(name string) (sourcing, error) {
	if _, err := o.image.over(generate.Default(name)); err != nil && !o.onlyTogether() {
		return nil, err
	}
	return func(_ context.Context, _ *hub, before *unstructured.Unstructured) (map[string]any, error) {
		now := generate.Default(name)
		if before != nil {
			inline, _, _ := unstructured.NestedString(before.Object, "spec", "source", "inline")
			made, ok := generate.Read([]byte(inline))
			switch {
			case ok && made.Name == name:
				now = made
			case !o.force:
				return nil, wrong("app/%s is more than an image by now: change its manifests, or replace them with --force-conflicts", name)
			}
		}
		next, err := o.image.over(now)
		if err != nil {
			return nil, err
		}
		data, err := next.YAML()
		if err != nil {
			return nil, err
		}
		return map[string]any{"inline": string(data)}, nil
	}, nil
}

// onlyTogether tells that flags may fit what runs, though not a new application:
// a host needs a port, which it may have already.
func (o *deployOptions) onlyTogether() bool {
	return !o.image.given("port") && (o.image.host != "" || o.image.probe != "") || o.image.host == "" && o.image.gateway+o.image.class != ""
}
