package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/sandbox/oidc"
)

// One hub serves all tests of the package; each test has its own namespace.
// Tokens of provider count there, by authenticationFile.
var (
	hub                *Server
	provider           *oidc.Provider
	authenticationFile string
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := runChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(childEtcd); dir != "" {
		if err := serveEtcd(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := withHub(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withHub(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return 0, err
	}
	if provider, err = oidc.New(nil); err != nil {
		return 0, err
	}
	defer provider.Close()
	authenticationFile = filepath.Join(dir, "authentication.yaml")
	if err := os.WriteFile(authenticationFile, trusting(provider), 0o600); err != nil {
		return 0, err
	}
	began := time.Now()
	hub, err = Start(ctx, Options{
		DataDir:         filepath.Join(dir, "data"),
		Listen:          "127.0.0.1:0",
		PublicAddresses: []string{"hub.example.org:7443", "192.0.2.7"},
		CRDs:            []*apiextensionsv1.CustomResourceDefinition{ringCRD()},
		Validators:      []Validator{oddOnly{}},
		APIs:            []API{whoAPI()},
		Handlers:        map[string]http.Handler{"/hello": http.HandlerFunc(sayWho)},
		Public:          map[string]http.Handler{"/.well-known/hello": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})},
		SignIn:          SignIn{File: authenticationFile, Taken: noted.take, Refused: noted.refuse},
		Log:             log,
	})
	if err != nil {
		return 0, fmt.Errorf("start the hub under test: %w", err)
	}
	fmt.Fprintf(os.Stderr, "hub ready after %s\n", time.Since(began).Round(time.Millisecond))
	code = run()
	return code, hub.Stop()
}

// ringCRD is a kind with a bounded field, a CEL rule and nothing else.
func ringCRD() *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(ringYAML), crd); err != nil {
		panic(err)
	}
	return crd
}

const ringYAML = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rings.test.atoll.dev}
spec:
  group: test.atoll.dev
  scope: Namespaced
  names: {kind: Ring, listKind: RingList, plural: rings, singular: ring}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            description: How large the ring is.
            type: object
            properties:
              size: {type: integer, maximum: 100}
              spare: {type: integer}
            x-kubernetes-validations:
            - rule: "!has(self.spare) || self.spare <= self.size"
              message: more spare than there is
              fieldPath: .spare
`

// oddOnly refuses rings of even size by field, and ConfigMaps named forbidden.
type oddOnly struct{}

func (oddOnly) Judges(resource schema.GroupVersionResource) bool {
	return resource.Resource == "rings" || resource.Resource == "configmaps"
}

func (oddOnly) Validate(_ context.Context, w Write) error {
	if w.New == nil {
		return nil
	}
	if w.Kind.Kind == "ConfigMap" {
		if w.New.GetName() == "forbidden" {
			return fmt.Errorf("%s may not write it", w.User.GetName())
		}
		return nil
	}
	spec, _ := w.New.Object["spec"].(map[string]any)
	if size, ok := spec["size"].(int64); ok && size%2 == 0 {
		return field.ErrorList{field.Invalid(field.NewPath("spec", "size"), size, "must be odd")}.ToAggregate()
	}
	return nil
}

// whoAPI answers a group version from a handler.
func whoAPI() API {
	return API{
		GroupVersion: schema.GroupVersion{Group: "fleet.test.atoll.dev", Version: "v1"},
		Resources:    []metav1.APIResource{{Name: "callers", SingularName: "caller", Kind: "Caller", Verbs: metav1.Verbs{"get"}}},
		Handler:      http.HandlerFunc(sayWho),
	}
}

func sayWho(w http.ResponseWriter, r *http.Request) {
	who, _ := request.UserFrom(r.Context())
	fmt.Fprintf(w, "%s asked for %s", who.GetName(), r.URL.Path)
}

func adminConfig(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", hub.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

func adminClient(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	return kubernetes.NewForConfigOrDie(adminConfig(t))
}

func rings(t *testing.T, namespace string) dynamic.ResourceInterface {
	t.Helper()
	resource := schema.GroupVersionResource{Group: "test.atoll.dev", Version: "v1", Resource: "rings"}
	return dynamic.NewForConfigOrDie(adminConfig(t)).Resource(resource).Namespace(namespace)
}

// newNamespace makes a namespace for one test.
func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	namespace, err := adminClient(t).CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// eventually waits for a condition, as long as a busy machine may take.
func eventually(t *testing.T, what string, is func(context.Context) (bool, error)) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 2*time.Minute, true, is)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
