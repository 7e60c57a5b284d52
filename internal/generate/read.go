package generate

import (
	"bytes"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// Read is the options that YAML made data of. ok is false for everything else,
// what was edited since among it.
func Read(data []byte) (o Options, ok bool) {
	for _, doc := range bytes.Split(data, []byte("\n---\n")) {
		kind := struct {
			Kind string `json:"kind"`
		}{}
		if yaml.Unmarshal(doc, &kind) != nil {
			return Options{}, false
		}
		switch kind.Kind {
		case "Deployment":
			ok = o.readDeployment(doc)
		case "Ingress":
			ok = ok && o.readIngress(doc)
		case "HTTPRoute":
			ok = ok && o.readRoute(doc)
		}
		if !ok {
			return Options{}, false
		}
	}
	again, err := o.YAML()
	return o, err == nil && o.Check() == nil && bytes.Equal(again, data)
}

func (o *Options) readDeployment(doc []byte) bool {
	d := appsv1.Deployment{}
	if yaml.Unmarshal(doc, &d) != nil || len(d.Spec.Template.Spec.Containers) != 1 || d.Spec.Replicas == nil {
		return false
	}
	c := d.Spec.Template.Spec.Containers[0]
	o.Name, o.Image, o.Replicas = d.Name, c.Image, *d.Spec.Replicas
	o.CPU, o.Memory = c.Resources.Requests.Cpu().String(), c.Resources.Requests.Memory().String()
	o.Root = c.SecurityContext != nil && c.SecurityContext.RunAsNonRoot == nil
	if len(c.Ports) > 0 {
		o.Port = c.Ports[0].ContainerPort
	}
	if c.ReadinessProbe != nil && c.ReadinessProbe.HTTPGet != nil {
		o.Probe = c.ReadinessProbe.HTTPGet.Path
	}
	for _, e := range c.Env {
		if o.Env == nil {
			o.Env = map[string]string{}
		}
		o.Env[e.Name] = e.Value
	}
	return true
}

func (o *Options) readIngress(doc []byte) bool {
	i := networkingv1.Ingress{}
	if yaml.Unmarshal(doc, &i) != nil || len(i.Spec.Rules) != 1 {
		return false
	}
	o.Host = i.Spec.Rules[0].Host
	if i.Spec.IngressClassName != nil {
		o.IngressClass = *i.Spec.IngressClassName
	}
	return true
}

func (o *Options) readRoute(doc []byte) bool {
	r := struct {
		Spec struct {
			ParentRefs []struct{ Namespace, Name string } `json:"parentRefs"`
			Hostnames  []string                           `json:"hostnames"`
		} `json:"spec"`
	}{}
	if yaml.Unmarshal(doc, &r) != nil || len(r.Spec.ParentRefs) != 1 || len(r.Spec.Hostnames) != 1 {
		return false
	}
	o.Host = r.Spec.Hostnames[0]
	parent := r.Spec.ParentRefs[0]
	o.Gateway = strings.TrimPrefix(parent.Namespace+"/"+parent.Name, "/")
	return true
}
