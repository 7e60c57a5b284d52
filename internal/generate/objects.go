package generate

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// object has the labels that Kubernetes recommends. The version is not among
// them: it would change with every image, in places where that restarts pods.
func (o Options) object(apiVersion, kind string, spec map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": o.Name, "labels": o.labels()},
		"spec":     spec,
	}
}

func (o Options) labels() map[string]any {
	return map[string]any{"app.kubernetes.io/name": o.Name, "app.kubernetes.io/instance": o.Name}
}

func (o Options) deployment() map[string]any {
	return o.object("apps/v1", "Deployment", map[string]any{
		"replicas": int64(o.Replicas),
		"selector": map[string]any{"matchLabels": o.labels()},
		"template": map[string]any{
			"metadata": map[string]any{"labels": o.labels()},
			"spec": map[string]any{
				// An image alone has no business with the cluster's API.
				"automountServiceAccountToken": false,
				"securityContext":              map[string]any{"seccompProfile": map[string]any{"type": "RuntimeDefault"}},
				"containers":                   []any{o.container()},
			},
		},
	})
}

func (o Options) container() map[string]any {
	c := map[string]any{
		"name": o.Name, "image": o.Image,
		"resources":       map[string]any{"requests": map[string]any{"cpu": amount(o.CPU), "memory": amount(o.Memory)}},
		"securityContext": o.confinement(),
	}
	if o.Port != 0 {
		c["ports"] = []any{map[string]any{"name": "http", "containerPort": int64(o.Port), "protocol": "TCP"}}
	}
	if o.Probe != "" {
		// Readiness alone: a liveness probe that nobody thought about restarts
		// what is merely busy.
		c["readinessProbe"] = map[string]any{"httpGet": map[string]any{"path": o.Probe, "port": "http"}}
	}
	var env []any
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		env = append(env, map[string]any{"name": name, "value": o.Env[name]})
	}
	if len(env) > 0 {
		c["env"] = env
	}
	return c
}

// amount is written as the API server would, so that it reads back the same.
func amount(s string) string {
	q, err := resource.ParseQuantity(s)
	if err != nil {
		return s
	}
	return q.String()
}

// confinement passes the restricted level of Pod Security; with Root, the
// baseline, where the image keeps the capabilities that such images expect.
func (o Options) confinement() map[string]any {
	if o.Root {
		return map[string]any{"allowPrivilegeEscalation": false}
	}
	return map[string]any{
		"allowPrivilegeEscalation": false, "runAsNonRoot": true,
		"capabilities": map[string]any{"drop": []any{"ALL"}},
	}
}

func (o Options) service() map[string]any {
	return o.object("v1", "Service", map[string]any{
		"selector": o.labels(),
		"ports":    []any{map[string]any{"name": "http", "port": int64(o.Port), "targetPort": "http", "protocol": "TCP"}},
	})
}

// ingress is what most clusters can serve as they are; an HTTPRoute needs a
// Gateway, whose name only people know.
func (o Options) ingress() map[string]any {
	backend := map[string]any{"service": map[string]any{"name": o.Name, "port": map[string]any{"name": "http"}}}
	spec := map[string]any{"rules": []any{map[string]any{
		"host": o.Host,
		"http": map[string]any{"paths": []any{map[string]any{"path": "/", "pathType": "Prefix", "backend": backend}}},
	}}}
	if o.IngressClass != "" {
		spec["ingressClassName"] = o.IngressClass
	}
	return o.object("networking.k8s.io/v1", "Ingress", spec)
}

func (o Options) route() map[string]any {
	parent := map[string]any{"name": o.Gateway}
	if namespace, name, found := strings.Cut(o.Gateway, "/"); found {
		parent = map[string]any{"namespace": namespace, "name": name}
	}
	return o.object("gateway.networking.k8s.io/v1", "HTTPRoute", map[string]any{
		"parentRefs": []any{parent},
		"hostnames":  []any{o.Host},
		"rules":      []any{map[string]any{"backendRefs": []any{map[string]any{"name": o.Name, "port": int64(o.Port)}}}},
	})
}
