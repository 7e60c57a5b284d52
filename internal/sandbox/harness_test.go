package sandbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/sandbox"
)

// patience is far beyond what anything here takes on an idle machine.
const patience = 2 * time.Minute

func clientOf(t *testing.T, c *sandbox.Cluster) kubernetes.Interface {
	t.Helper()
	config, err := c.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// member is the package's shared cluster and a namespace for this test.
func member(t *testing.T) (kubernetes.Interface, string) {
	t.Helper()
	client := clientOf(t, sandbox.Shared(t, "us-east-1"))
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "_", "-"))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// A pod is refused before its namespace's service account is there.
	eventually(t, "service account of "+name, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return client, name
}

// eventually asks until the answer is nil.
func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	last := errors.New("never asked")
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v; last: %v", what, err, last)
	}
}

// object reads YAML, so that a test shows what a user would write.
func object[T any](t *testing.T, text string) *T {
	t.Helper()
	into := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatal(err)
	}
	return into
}

func createPod(t *testing.T, client kubernetes.Interface, namespace, text string) *corev1.Pod {
	t.Helper()
	pod, err := client.CoreV1().Pods(namespace).Create(t.Context(), object[corev1.Pod](t, text), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// podBecomes waits until a pod is as wanted and returns it.
func podBecomes(t *testing.T, client kubernetes.Interface, pod *corev1.Pod, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var now *corev1.Pod
	eventually(t, "pod "+pod.Name+" "+what, func(ctx context.Context) (err error) {
		if now, err = client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		if !ok(now) {
			return errors.New(string(now.Status.Phase))
		}
		return nil
	})
	return now
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
