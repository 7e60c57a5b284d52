package cli_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/cli"
)

const nonsenseFile = "testdata/nonsense.yaml"

func nonsense(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(nonsenseFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []*unstructured.Unstructured
	for _, doc := range strings.Split(string(data), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	if len(all) < 20 {
		t.Fatalf("only %d objects", len(all))
	}
	return all
}

func withProject(t *testing.T, name string) dynamic.Interface {
	t.Helper()
	t.Setenv("ATOLL_KUBECONFIG", hubKubeconfig(t))
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("ATOLL_KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	project := "apiVersion: atoll.dev/v1alpha1\nkind: Project\nmetadata: {name: " + name + "}\nspec: {}\n"
	if code, _, words := runAtoll(t, project, "apply", "-f", "-"); code != 0 {
		t.Fatal(words)
	}
	t.Cleanup(func() {
		gvr := v1alpha1.GroupVersion.WithResource("projects")
		if err := client.Resource(gvr).Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return client
}

func runAtoll(t *testing.T, stdin string, args ...string) (code int, data, words string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(t.Context(), cli.Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs}, args)
	return code, out.String(), errs.String()
}

func TestNonsenseIsRefusedByFieldByALiveHub(t *testing.T) {
	client := withProject(t, "cli-nonsense")
	all := nonsense(t)
	t.Run("kubectl apply --server-side", func(t *testing.T) {
		for _, u := range all {
			field := u.GetAnnotations()["field"]
			resource := client.Resource(v1alpha1.GroupVersion.WithResource(strings.ToLower(u.GetKind()) + "s"))
			_, err := resource.Namespace(u.GetNamespace()).Apply(t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "kubectl"})
			switch {
			case err == nil:
				t.Errorf("%s %s was accepted; %s is wrong", u.GetKind(), u.GetName(), field)
			case !strings.Contains(err.Error(), field):
				t.Errorf("%s %s: the refusal does not name %s: %v", u.GetKind(), u.GetName(), field, err)
			case strings.Contains(err.Error(), "hunter2"):
				t.Errorf("%s %s: the refusal quotes a Secret's value: %v", u.GetKind(), u.GetName(), err)
			}
		}
	})
	t.Run("one atoll apply", func(t *testing.T) { refusesAll(t, all) })
}

// refusesAll wants as many refusals as objects, each with its field.
func refusesAll(t *testing.T, all []*unstructured.Unstructured) {
	code, data, words := runAtoll(t, "", "apply", "-f", nonsenseFile)
	if code != 2 || data != "" {
		t.Errorf("exit code %d and on stdout %q; want 2 and nothing", code, data)
	}
	refusals := map[string]string{}
	for _, r := range strings.Split("\n"+words, "\nerror: ")[1:] {
		about, fields, _ := strings.Cut(r, " is refused:\n")
		refusals[about] = fields
	}
	if len(refusals) != len(all) {
		t.Errorf("%d refusals of %d objects", len(refusals), len(all))
	}
	for _, u := range all {
		about := strings.ToLower(u.GetKind()) + ".atoll.dev/" + u.GetName()
		if field := u.GetAnnotations()["field"]; !strings.HasPrefix(refusals[about], "  "+field) {
			t.Errorf("%s: the refusal does not begin with %s: %q", about, field, refusals[about])
		}
	}
	for _, leak := range []string{"hunter2", "valueUnstructured"} {
		if strings.Contains(words, leak) {
			t.Errorf("the refusals contain %q:\n%s", leak, words)
		}
	}
}
