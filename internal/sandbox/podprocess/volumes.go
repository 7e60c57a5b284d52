package podprocess

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/fieldpath"
)

// volumes are the files of one pod's volumes, which it finds by its mounts.
type volumes struct {
	mu     sync.Mutex // one writer at a time
	client kubernetes.Interface
	pod    *corev1.Pod
	dir    string
	// renew is when a token, by the name of its file, is asked for anew.
	renew map[string]time.Time
}

// files are the contents of a volume by their paths in it.
type files map[string][]byte

// write brings every volume to what the API says now. A file is replaced in
// one step, and a token only when a fifth of its life is left.
func (v *volumes) write(ctx context.Context) error {
	for _, volume := range v.pod.Spec.Volumes {
		if err := v.writeOne(ctx, volume); err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
	}
	return nil
}

func (v *volumes) writeOne(ctx context.Context, volume corev1.Volume) error {
	dir := filepath.Join(v.dir, volume.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	projection := volume.Projected
	switch source := volume.VolumeSource; {
	case projection != nil:
	case source.EmptyDir != nil:
		return nil
	case source.Secret != nil:
		projection = &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: source.Secret.SecretName}, Items: source.Secret.Items, Optional: source.Secret.Optional,
		}}}}
	case source.ConfigMap != nil:
		projection = &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: source.ConfigMap.LocalObjectReference, Items: source.ConfigMap.Items, Optional: source.ConfigMap.Optional,
		}}}}
	case source.DownwardAPI != nil:
		projection = &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{Items: source.DownwardAPI.Items}}}}
	default:
		return errors.New("the sandbox mounts secrets, config maps, projections and empty folders, and nothing of this machine")
	}
	return v.project(ctx, dir, projection)
}

func (v *volumes) project(ctx context.Context, dir string, projection *corev1.ProjectedVolumeSource) error {
	all := files{}
	for _, source := range projection.Sources {
		err := error(nil)
		switch {
		case source.Secret != nil:
			err = v.secret(ctx, source.Secret, all)
		case source.ConfigMap != nil:
			err = v.configMap(ctx, source.ConfigMap, all)
		case source.DownwardAPI != nil:
			err = v.downward(source.DownwardAPI, all)
		case source.ServiceAccountToken != nil:
			err = v.token(ctx, dir, source.ServiceAccountToken, all)
		default:
			err = errors.New("the sandbox does not know this kind of projection")
		}
		if err != nil {
			return err
		}
	}
	return all.writeTo(dir)
}

func (v *volumes) secret(ctx context.Context, p *corev1.SecretProjection, into files) error {
	found, err := v.client.CoreV1().Secrets(v.pod.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && p.Optional != nil && *p.Optional {
		return nil
	}
	if err != nil {
		return err
	}
	return into.take(found.Data, p.Items, p.Optional)
}

func (v *volumes) configMap(ctx context.Context, p *corev1.ConfigMapProjection, into files) error {
	found, err := v.client.CoreV1().ConfigMaps(v.pod.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && p.Optional != nil && *p.Optional {
		return nil
	}
	if err != nil {
		return err
	}
	data := files{}
	for key, value := range found.BinaryData {
		data[key] = value
	}
	for key, value := range found.Data {
		data[key] = []byte(value)
	}
	return into.take(data, p.Items, p.Optional)
}

func (v *volumes) downward(p *corev1.DownwardAPIProjection, into files) error {
	for _, item := range p.Items {
		if item.FieldRef == nil {
			return fmt.Errorf("file %s: the sandbox writes fields of the pod, and no resources", item.Path)
		}
		value, err := fieldpath.ExtractFieldPathAsString(v.pod, item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		into[item.Path] = []byte(value)
	}
	return nil
}

// token is one that only this pod has, and that ends with it.
func (v *volumes) token(ctx context.Context, dir string, p *corev1.ServiceAccountTokenProjection, into files) error {
	name := filepath.Join(dir, p.Path)
	if time.Now().Before(v.renew[name]) {
		return nil
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: p.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: v.pod.Name, UID: v.pod.UID},
	}}
	if p.Audience != "" {
		request.Spec.Audiences = []string{p.Audience}
	}
	asked := time.Now()
	answer, err := v.client.CoreV1().ServiceAccounts(v.pod.Namespace).CreateToken(ctx, v.pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask for a token of %s: %w", v.pod.Spec.ServiceAccountName, err)
	}
	v.renew[name] = asked.Add(answer.Status.ExpirationTimestamp.Sub(asked) * 4 / 5)
	into[p.Path] = []byte(answer.Status.Token)
	return nil
}

// take is all of the data, or the items of it by their paths.
func (f files) take(data map[string][]byte, items []corev1.KeyToPath, optional *bool) error {
	if len(items) == 0 {
		for key, value := range data {
			f[key] = value
		}
		return nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok {
			if optional != nil && *optional {
				continue
			}
			return fmt.Errorf("there is no key %s", item.Key)
		}
		f[item.Path] = value
	}
	return nil
}

// writeTo replaces what is different.
func (f files) writeTo(dir string) error {
	folder, err := os.OpenRoot(dir) // no path of a pod's leads out of it
	if err != nil {
		return err
	}
	defer folder.Close()
	for path, content := range f {
		if have, err := folder.ReadFile(path); err == nil && string(have) == string(content) {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := folder.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := folder.WriteFile(path+".new", content, 0o600); err != nil {
			return err
		}
		if err := folder.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}
