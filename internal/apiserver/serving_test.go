package apiserver

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestSchemaAndRulesOfACustomKindAreEnforced(t *testing.T) {
	namespace := newNamespace(t)
	tooLarge := ring("x", 101)
	greedy := ring("x", 3)
	greedy.Object["spec"].(map[string]any)["spare"] = int64(5)
	for what, refused := range map[string]struct {
		field  string
		create func() error
	}{
		"schema": {"spec.size", func() error {
			_, err := rings(t, namespace).Create(t.Context(), tooLarge, metav1.CreateOptions{})
			return err
		}},
		"CEL rule": {"spec.spare", func() error {
			_, err := rings(t, namespace).Create(t.Context(), greedy, metav1.CreateOptions{})
			return err
		}},
		"validator": {"spec.size", func() error {
			_, err := rings(t, namespace).Create(t.Context(), ring("x", 4), metav1.CreateOptions{})
			return err
		}},
	} {
		err := refused.create()
		if !apierrors.IsInvalid(err) || !slices.Contains(fieldsOf(err), refused.field) {
			t.Errorf("%s: got %v of fields %v, want %s invalid", what, err, fieldsOf(err), refused.field)
		}
	}
}

func TestValidatorJudgesUpdatesPatchesAndBuiltInKinds(t *testing.T) {
	namespace := newNamespace(t)
	createRing(t, namespace, "odd", 3)
	_, err := rings(t, namespace).Patch(t.Context(), "odd", types.MergePatchType, []byte(`{"spec":{"size":8}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.size: Invalid value: 8: must be odd") {
		t.Errorf("patch: %v", err)
	}
	_, err = rings(t, namespace).Apply(t.Context(), "odd", ring("odd", 10), metav1.ApplyOptions{FieldManager: "test", Force: true})
	if !apierrors.IsInvalid(err) {
		t.Errorf("apply: %v", err)
	}
	_, err = adminClient(t).CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap("forbidden"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "atoll-admin may not write it") {
		t.Errorf("built-in kind: %v", err)
	}
}

func TestDiscoveryListsBuiltInCustomAndMountedGroups(t *testing.T) {
	wanted := []string{"apiextensions.k8s.io", "fleet.test.atoll.dev", "rbac.authorization.k8s.io", "test.atoll.dev"}
	client := adminClient(t).Discovery()

	aggregated, resources, err := client.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, list := range resources {
		for _, r := range list.APIResources {
			kinds = append(kinds, r.Kind)
		}
	}
	for _, kind := range []string{"Ring", "Caller", "ConfigMap", "CustomResourceDefinition"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("kind %s is not in discovery", kind)
		}
	}
	_, body := get(t, adminConfig(t), "/apis")
	plain := &metav1.APIGroupList{}
	if err := json.Unmarshal([]byte(body), plain); err != nil {
		t.Fatal(err)
	}
	var aggregatedNames, plainNames []string
	for _, group := range aggregated {
		aggregatedNames = append(aggregatedNames, group.Name)
	}
	for _, group := range plain.Groups {
		plainNames = append(plainNames, group.Name)
	}
	for _, group := range wanted {
		if !slices.Contains(aggregatedNames, group) || !slices.Contains(plainNames, group) {
			t.Errorf("group %s is missing in %v or %v", group, aggregatedNames, plainNames)
		}
	}
}

func TestOpenAPIDescribesBuiltInAndCustomKinds(t *testing.T) {
	eventually(t, "OpenAPI v3 lists the custom group", func(context.Context) (bool, error) {
		_, body := get(t, adminConfig(t), "/openapi/v3")
		return strings.Contains(body, "apis/test.atoll.dev/v1") && strings.Contains(body, `"api/v1"`), nil
	})
	eventually(t, "OpenAPI v3 explains the custom kind", func(context.Context) (bool, error) {
		_, body := get(t, adminConfig(t), "/openapi/v3/apis/test.atoll.dev/v1")
		return strings.Contains(body, "How large the ring is."), nil
	})
	eventually(t, "OpenAPI v2 explains both", func(context.Context) (bool, error) {
		_, body := get(t, adminConfig(t), "/openapi/v2")
		return strings.Contains(body, "How large the ring is.") && strings.Contains(body, "io.k8s.api.core.v1.ConfigMap") &&
			strings.Contains(body, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"), nil
	})
	for path, kind := range map[string]string{
		"/openapi/v3/api/v1":                       "io.k8s.api.core.v1.ConfigMap",
		"/openapi/v3/apis/apiextensions.k8s.io/v1": "v1.CustomResourceDefinition",
	} {
		if status, body := get(t, adminConfig(t), path); status != http.StatusOK || !strings.Contains(body, kind) {
			t.Errorf("GET %s: %d, without %s", path, status, kind)
		}
	}
}

func TestUnknownFieldIsRefusedWhenAsked(t *testing.T) {
	misspelt := ring("x", 3)
	misspelt.Object["spec"].(map[string]any)["sizzle"] = int64(1)
	_, err := rings(t, newNamespace(t)).Create(t.Context(), misspelt, metav1.CreateOptions{FieldValidation: "Strict"})
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "spec.sizzle") {
		t.Errorf("got %v, want spec.sizzle refused", err)
	}
}

func TestSecretsAreEncryptedAtRest(t *testing.T) {
	const canary = "canary-7f3a9c"
	client, namespace := adminClient(t), newNamespace(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"password": canary}}
	if _, err := client.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	marker := configMap("m")
	marker.Data = map[string]string{"note": canary}
	if _, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), marker, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stored := rawStore(t, hub)
	if !strings.Contains(stored["/registry/configmaps/"+namespace+"/m"], canary) {
		t.Fatal("the store is not being read: a ConfigMap's text is not in it")
	}
	raw := stored["/registry/secrets/"+namespace+"/s"]
	if !strings.HasPrefix(raw, "k8s:enc:secretbox:v1:key1:") || strings.Contains(raw, canary) {
		t.Errorf("the Secret is stored as %.60q", raw)
	}
	if read, err := client.CoreV1().Secrets(namespace).Get(t.Context(), "s", metav1.GetOptions{}); err != nil || string(read.Data["password"]) != canary {
		t.Errorf("reading it back: %v", err)
	}
}

// rawStore reads everything in etcd as it is stored.
func rawStore(t *testing.T, s *Server) map[string]string {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.etcd.endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // Only read from.
	answer, err := client.Get(t.Context(), "/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{}
	for _, pair := range answer.Kvs {
		stored[string(pair.Key)] = string(pair.Value)
	}
	return stored
}

func fieldsOf(err error) []string {
	status, ok := err.(apierrors.APIStatus) //nolint:errorlint // The client returns it bare.
	if !ok || status.Status().Details == nil {
		return nil
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		fields = append(fields, cause.Field)
	}
	return fields
}
