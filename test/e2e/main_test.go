// Package e2e_test proves the product by its real programs: a hub, two members
// with agents and a third for joining and leaving, each a real Kubernetes
// cluster. Every test has a project of its own.
package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

// module is the root of the repository, as seen from this package.
const module = "../.."

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testfleet.EndShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// fleet has a and b in production, with agents; c is up and belongs to nobody.
// A test that ties c lets go of it again.
func fleet(t *testing.T) *testfleet.Fleet {
	t.Helper()
	return testfleet.Shared(t, testfleet.Options{Clusters: []testfleet.Cluster{
		testfleet.Named("a", "stage=production"),
		testfleet.Named("b", "stage=production"),
		{Spec: sandbox.ClusterSpec{Name: "c"}, Mode: testfleet.Alone},
	}})
}

func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	testfleet.Eventually(t, what, ask)
}

// configMap is a manifest; namespace may be empty.
func configMap(name, value string) string {
	return manifest("ConfigMap", name, map[string]any{"data": map[string]any{"value": value}})
}

func manifest(kind, name string, rest map[string]any) string {
	apiVersion := "v1"
	if kind == "Deployment" {
		apiVersion = "apps/v1"
	}
	object := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}}
	for k, v := range rest {
		object[k] = v
	}
	data, err := json.Marshal(object)
	if err != nil {
		panic(err) // only maps of strings come here
	}
	return string(data) + "\n"
}

func deployment(name, image string, replicas int) string {
	labels := map[string]any{"app": name}
	return manifest("Deployment", name, map[string]any{"spec": map[string]any{
		"replicas": replicas,
		"selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "main", "image": image}}},
		},
	}})
}

// stream joins documents.
func stream(documents ...string) string { return strings.Join(documents, "---\n") }

// configMaps are count numbered ConfigMaps from first on.
func configMaps(first, count int, value string) string {
	documents := make([]string, 0, count)
	for i := range count {
		documents = append(documents, configMap(fmt.Sprintf("item-%05d", first+i), value))
	}
	return stream(documents...)
}

// value is what a delivered ConfigMap says.
func value(ctx context.Context, m *testfleet.Member, namespace, name string) (string, error) {
	cm := &corev1.ConfigMap{}
	err := m.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, cm)
	return cm.Data["value"], err
}

func becomes(t *testing.T, m *testfleet.Member, namespace, name, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s/%s on %s becomes %q", namespace, name, m.Name, want), func(ctx context.Context) error {
		got, err := value(ctx, m, namespace, name)
		if err == nil && got != want {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

func exists(t *testing.T, m *testfleet.Member, o client.Object, namespace, name string) bool {
	t.Helper()
	err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o)
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// items are the ConfigMaps of configMaps that a member has, by name.
func items(ctx context.Context, m *testfleet.Member, namespace string) (map[string]corev1.ConfigMap, error) {
	list := &corev1.ConfigMapList{}
	if err := m.Client().List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	found := map[string]corev1.ConfigMap{}
	for _, cm := range list.Items {
		if strings.HasPrefix(cm.Name, "item-") {
			found[cm.Name] = cm
		}
	}
	return found, nil
}

func count(t *testing.T, m *testfleet.Member, namespace string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d items on %s", want, m.Name), func(ctx context.Context) error {
		found, err := items(ctx, m, namespace)
		if err == nil && len(found) != want {
			err = fmt.Errorf("there are %d", len(found))
		}
		return err
	})
}

// problem finds the first problem of that reason.
func problem(s report.State, reason string) (report.Problem, bool) {
	i := slices.IndexFunc(s.Problems, func(p report.Problem) bool { return p.Reason == reason })
	if i < 0 {
		return report.Problem{}, false
	}
	return s.Problems[i], true
}

// logSays waits until the words stand in a log, after the first `from` bytes.
func logSays(t *testing.T, path string, from int64, words string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s says %q", filepath.Base(path), words), func(context.Context) error {
		data, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(data[min(from, int64(len(data))):]), words) {
			err = errors.New("not yet")
		}
		return err
	})
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func deleteIn(t *testing.T, m *testfleet.Member, o client.Object) {
	t.Helper()
	if err := m.Client().Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}
