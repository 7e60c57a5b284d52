package component

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// podEnv resolves the environment of a container from what the API says now.
// A kubelet does so once, when the container starts; what has changed since is
// the difference.
type podEnv struct {
	client kubernetes.Interface
	pod    *corev1.Pod
}

func (e podEnv) of(ctx context.Context, container *corev1.Container) (map[string]string, error) {
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": (&shell{pod: e.pod}).hostname()}
	for _, from := range container.EnvFrom {
		values, err := e.source(ctx, from)
		if err != nil {
			return nil, err
		}
		for key, value := range values {
			env[from.Prefix+key] = value
		}
	}
	for _, variable := range container.Env {
		value, set, err := e.value(ctx, container, variable, env)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", variable.Name, err)
		}
		if set {
			env[variable.Name] = value
		}
	}
	return env, nil
}

func (e podEnv) source(ctx context.Context, from corev1.EnvFromSource) (map[string]string, error) {
	if ref := from.ConfigMapRef; ref != nil {
		return e.configMap(ctx, ref.Name, ref.Optional)
	}
	if ref := from.SecretRef; ref != nil {
		return e.secret(ctx, ref.Name, ref.Optional)
	}
	return nil, nil
}

func (e podEnv) value(ctx context.Context, container *corev1.Container, variable corev1.EnvVar, env map[string]string) (value string, set bool, err error) {
	from := variable.ValueFrom
	switch {
	case from == nil:
		return expansion.Expand(variable.Value, expansion.MappingFuncFor(env)), true, nil
	case from.FieldRef != nil:
		value, err = e.field(from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = resource.ExtractContainerResourceValue(from.ResourceFieldRef, container)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		values, err := e.configMap(ctx, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional)
		value, set = values[from.ConfigMapKeyRef.Key]
		return value, set, err
	case from.SecretKeyRef != nil:
		values, err := e.secret(ctx, from.SecretKeyRef.Name, from.SecretKeyRef.Optional)
		value, set = values[from.SecretKeyRef.Key]
		return value, set, err
	}
	return "", false, fmt.Errorf("the sandbox does not know where its value comes from")
}

// field answers what a kubelet knows of a pod beyond its metadata, too.
func (e podEnv) field(path string) (string, error) {
	switch path {
	case "spec.nodeName":
		return e.pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return e.pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return e.pod.Status.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return e.pod.Status.HostIP, nil
	}
	return fieldpath.ExtractFieldPathAsString(e.pod, path)
}

func (e podEnv) configMap(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	found, err := e.client.CoreV1().ConfigMaps(e.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unlessOptional(err, optional)
	}
	return found.Data, nil
}

func (e podEnv) secret(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	found, err := e.client.CoreV1().Secrets(e.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unlessOptional(err, optional)
	}
	values := map[string]string{}
	for key, value := range found.Data {
		values[key] = string(value)
	}
	return values, nil
}

func unlessOptional(err error, optional *bool) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
