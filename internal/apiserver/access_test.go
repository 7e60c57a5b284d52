package apiserver

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/apiserver/pki"
)

func TestAdminKubeconfigIsPrivateAndNotSystemMasters(t *testing.T) {
	info, err := os.Stat(hub.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode is %v, want -rw-------", info.Mode())
	}
	review, err := adminClient(t).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	who := review.Status.UserInfo
	if who.Username != "atoll-admin" || !slices.Contains(who.Groups, "atoll:admins") || slices.Contains(who.Groups, "system:masters") {
		t.Errorf("the admin is %s of %v", who.Username, who.Groups)
	}
	lifetime := time.Until(certificateOf(t, adminConfig(t)).NotAfter)
	if lifetime < 364*24*time.Hour || lifetime > 366*24*time.Hour {
		t.Errorf("the admin's certificate lasts %v, want a year", lifetime)
	}
}

func TestKeysAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Dir(hub.AdminKubeconfig())
	err := filepath.WalkDir(filepath.Join(dir, "pki"), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if info.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("directory %s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestServingCertificateNamesThePublicAddresses(t *testing.T) {
	for _, name := range []string{"localhost", "127.0.0.1", "hub.example.org", "192.0.2.7"} {
		config := adminConfig(t)
		config.ServerName = name
		if _, err := kubernetes.NewForConfigOrDie(config).Discovery().ServerVersion(); err != nil {
			t.Errorf("verify the server as %s: %v", name, err)
		}
	}
	config := adminConfig(t)
	config.ServerName = "elsewhere.example.org"
	if _, err := kubernetes.NewForConfigOrDie(config).Discovery().ServerVersion(); err == nil {
		t.Error("the server was accepted under a name that is not its own")
	}
}

func TestCertificateOfAnotherAuthorityIsRefused(t *testing.T) {
	other, err := pki.OpenAuthority(t.TempDir(), "ca", "atoll-hub-ca")
	if err != nil {
		t.Fatal(err)
	}
	config := adminConfig(t)
	config.CertData, config.KeyData, err = other.Issue(pki.Leaf{CommonName: AdminUser, Groups: []string{AdminGroup, "system:masters"}, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_, err = kubernetes.NewForConfigOrDie(config).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("got %v, want it unauthorized", err)
	}
}

func TestWithoutACredentialOnlyHealthIsTold(t *testing.T) {
	for path, want := range map[string]int{
		"/livez":  http.StatusOK,
		"/readyz": http.StatusOK,
		"/hello":  http.StatusUnauthorized,
		"/apis":   http.StatusUnauthorized,
		"/apis/fleet.test.atoll.dev/v1/callers/me": http.StatusUnauthorized,
		"/apis/test.atoll.dev/v1/rings":            http.StatusUnauthorized,
		"/api/v1/namespaces/kube-system/secrets":   http.StatusUnauthorized,
		"/openapi/v2":                              http.StatusUnauthorized,
		"/metrics":                                 http.StatusUnauthorized,
		"/.well-known/openid-configuration":        http.StatusUnauthorized,
	} {
		if got, body := get(t, anonymous(t), path); got != want {
			t.Errorf("GET %s: %d %s, want %d", path, got, body, want)
		}
	}
}

func TestMountedAPIIsServedUnderRBAC(t *testing.T) {
	const path = "/apis/fleet.test.atoll.dev/v1/callers/me"
	if status, body := get(t, adminConfig(t), path); status != http.StatusOK || body != "atoll-admin asked for "+path {
		t.Errorf("as admin: %d %s", status, body)
	}
	if status, body := get(t, adminConfig(t), "/hello"); status != http.StatusOK {
		t.Errorf("plain path as admin: %d %s", status, body)
	}
	namespace := newNamespace(t)
	someone := serviceAccount(t, namespace, "someone")
	status, body := get(t, someone, path)
	if status != http.StatusForbidden || !strings.Contains(body, `cannot get resource \"callers\" in API group \"fleet.test.atoll.dev\"`) {
		t.Errorf("without a role: %d %s", status, body)
	}
	allowCallers(t, namespace, "someone")
	eventually(t, "the role takes effect", func(ctx context.Context) (bool, error) {
		status, _ = get(t, someone, path)
		return status == http.StatusOK, nil
	})
}

func TestTokenDiesWithItsServiceAccount(t *testing.T) {
	namespace := newNamespace(t)
	config := serviceAccount(t, namespace, "gone")
	if status, _ := get(t, config, "/version"); status != http.StatusOK {
		t.Fatalf("a fresh token: %d", status)
	}
	if err := adminClient(t).CoreV1().ServiceAccounts(namespace).Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token is refused", func(context.Context) (bool, error) {
		status, _ := get(t, config, "/version")
		return status == http.StatusUnauthorized, nil
	})
}

func serviceAccount(t *testing.T, namespace, name string) *rest.Config {
	t.Helper()
	accounts := adminClient(t).CoreV1().ServiceAccounts(namespace)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := accounts.Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := anonymous(t)
	config.BearerToken = token.Status.Token
	return config
}

func allowCallers(t *testing.T, namespace, account string) {
	t.Helper()
	roles := adminClient(t).RbacV1()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"fleet.test.atoll.dev"}, Resources: []string{"callers"}, Verbs: []string{"get"}}},
	}
	if _, err := roles.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: namespace},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account}},
	}
	if _, err := roles.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func anonymous(t *testing.T) *rest.Config {
	t.Helper()
	return rest.AnonymousClientConfig(adminConfig(t))
}

func get(t *testing.T, config *rest.Config, path string) (status int, body string) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Get(config.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // Read to its end.
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

func certificateOf(t *testing.T, config *rest.Config) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(config.CertData)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
