package component

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/volume/configmap"
	"k8s.io/kubernetes/pkg/volume/secret"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
)

// file reads one file of a volume. Listing a volume must not issue a token.
type file func(context.Context) (string, error)

// podFiles finds the files in a pod's volumes from what the API says now.
type podFiles struct{ podEnv }

// of is the files of one volume by their path in it. Nothing was ever written
// to a volume that begins empty, and none of this machine's files are given.
func (f podFiles) of(ctx context.Context, volume corev1.Volume) (map[string]file, error) {
	switch source := volume.VolumeSource; {
	case source.EmptyDir != nil, source.PersistentVolumeClaim != nil, source.Ephemeral != nil:
		return nil, nil
	case source.ConfigMap != nil:
		return f.fromConfigMap(ctx, source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.DefaultMode, source.ConfigMap.Optional)
	case source.Secret != nil:
		return f.fromSecret(ctx, source.Secret.SecretName, source.Secret.Items, source.Secret.DefaultMode, source.Secret.Optional)
	case source.DownwardAPI != nil:
		return f.fromPod(source.DownwardAPI.Items), nil
	case source.Projected != nil:
		return f.projected(ctx, source.Projected)
	}
	return nil, fmt.Errorf("volume %s is of a kind that has no files in the sandbox", volume.Name)
}

func (f podFiles) projected(ctx context.Context, volume *corev1.ProjectedVolumeSource) (map[string]file, error) {
	all := map[string]file{}
	for _, source := range volume.Sources {
		files, err := f.projection(ctx, source, volume.DefaultMode)
		if err != nil {
			return nil, err
		}
		for path, read := range files {
			all[path] = read
		}
	}
	return all, nil
}

func (f podFiles) projection(ctx context.Context, source corev1.VolumeProjection, mode *int32) (map[string]file, error) {
	switch {
	case source.ConfigMap != nil:
		return f.fromConfigMap(ctx, source.ConfigMap.Name, source.ConfigMap.Items, mode, source.ConfigMap.Optional)
	case source.Secret != nil:
		return f.fromSecret(ctx, source.Secret.Name, source.Secret.Items, mode, source.Secret.Optional)
	case source.DownwardAPI != nil:
		return f.fromPod(source.DownwardAPI.Items), nil
	case source.ServiceAccountToken != nil:
		return map[string]file{source.ServiceAccountToken.Path: f.token(source.ServiceAccountToken)}, nil
	}
	return nil, fmt.Errorf("the sandbox does not know a source that is projected")
}

func (f podFiles) fromConfigMap(ctx context.Context, name string, items []corev1.KeyToPath, mode *int32, optional *bool) (map[string]file, error) {
	found, err := f.client.CoreV1().ConfigMaps(f.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unlessOptional(err, optional)
	}
	payload, err := configmap.MakePayload(items, found, mode, optional != nil && *optional)
	return filesOf(payload), err
}

func (f podFiles) fromSecret(ctx context.Context, name string, items []corev1.KeyToPath, mode *int32, optional *bool) (map[string]file, error) {
	found, err := f.client.CoreV1().Secrets(f.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unlessOptional(err, optional)
	}
	payload, err := secret.MakePayload(items, found, mode, optional != nil && *optional)
	return filesOf(payload), err
}

func filesOf(payload map[string]volumeutil.FileProjection) map[string]file {
	files := map[string]file{}
	for path, projection := range payload {
		files[path] = func(context.Context) (string, error) { return string(projection.Data), nil }
	}
	return files
}

func (f podFiles) fromPod(items []corev1.DownwardAPIVolumeFile) map[string]file {
	files := map[string]file{}
	for _, item := range items {
		files[item.Path] = func(context.Context) (string, error) {
			if ref := item.ResourceFieldRef; ref != nil {
				return resource.ExtractResourceValueByContainerName(ref, f.pod, ref.ContainerName)
			}
			return f.field(item.FieldRef.FieldPath)
		}
	}
	return files
}

// token issues one with every reading, bound to the pod as a kubelet's is.
func (f podFiles) token(source *corev1.ServiceAccountTokenProjection) file {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: f.pod.Name, UID: f.pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	return func(ctx context.Context) (string, error) {
		issued, err := f.client.CoreV1().ServiceAccounts(f.pod.Namespace).CreateToken(ctx, f.pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		return issued.Status.Token, nil
	}
}
