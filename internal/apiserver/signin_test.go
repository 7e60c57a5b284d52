package apiserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/sandbox/oidc"
)

// noted is what the hub said of the files that it took or not.
var noted notes

type notes struct {
	mu      sync.Mutex
	issuers []TokenIssuer
	refused []error
}

func (n *notes) take(issuers []TokenIssuer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.issuers = issuers
}

func (n *notes) refuse(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused = append(n.refused, err)
}

// trusting takes names as they come, so that the hub alone guards its own.
func trusting(p *oidc.Provider, audiences ...string) []byte {
	return fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: %s
    audiences: [%s]
    audienceMatchPolicy: MatchAny
    certificateAuthority: %q
  claimMappings:
    username: {claim: name, prefix: ""}
    groups: {claim: groups, prefix: ""}
  claimValidationRules:
  - {expression: "!has(claims.tenant) || claims.tenant == 'ours'", message: another's tenant}
`, p.URL, strings.Join(append([]string{oidc.ClientID}, audiences...), ", "), p.CA)
}

func bearing(t *testing.T, token string) *kubernetes.Clientset {
	t.Helper()
	config := rest.AnonymousClientConfig(adminConfig(t))
	config.BearerToken, config.QPS = token, -1
	return kubernetes.NewForConfigOrDie(config)
}

// whose is who the hub takes a token's bearer for.
func whose(ctx context.Context, client kubernetes.Interface) (authenticationv1.UserInfo, error) {
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

// trusted waits until the provider's keys have been read.
func trusted(t *testing.T, claims map[string]any) authenticationv1.UserInfo {
	t.Helper()
	var who authenticationv1.UserInfo
	eventually(t, "a token of the provider counts", func(ctx context.Context) (bool, error) {
		var err error
		who, err = whose(ctx, bearing(t, provider.Token(claims)))
		if apierrors.IsUnauthorized(err) {
			return false, nil
		}
		return err == nil, err
	})
	return who
}

func TestATokenOfAProviderCountsForWhomItNames(t *testing.T) {
	who := trusted(t, map[string]any{"name": "ada", "groups": []string{"dev", "web"}, "tenant": "ours"})
	if who.Username != "ada" || !slices.Equal(who.Groups, []string{"dev", "web", "system:authenticated"}) {
		t.Errorf("the hub takes her for %+v", who)
	}
	_, err := bearing(t, provider.Token(map[string]any{"name": "ada"})).CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("without a rule she is told %v", err)
	}
}

func TestTokensThatSayTooMuchOrTooLittleAreRefused(t *testing.T) {
	good := map[string]any{"name": "ada", "groups": []string{"dev"}}
	trusted(t, good)
	forged, err := provider.Forged(good)
	if err != nil {
		t.Fatal(err)
	}
	with := func(claim string, value any) string {
		claims := map[string]any{"name": "ada", "groups": []string{"dev"}}
		claims[claim] = value
		return provider.Token(claims)
	}
	parts := strings.Split(provider.Token(good), ".")
	hour := int64(time.Hour / time.Second)
	for what, token := range map[string]string{
		"forged":                   forged,
		"without a signature":      parts[0] + "." + parts[1] + ".",
		"with others' claims":      parts[0] + "." + strings.Split(with("name", "eve"), ".")[1] + "." + parts[2],
		"expired":                  with("exp", time.Now().Unix()-hour),
		"not yet":                  with("nbf", time.Now().Unix()+hour),
		"endless":                  with("exp", nil),
		"for another audience":     with("aud", "shop"),
		"of another issuer":        with("iss", "https://elsewhere.example.com"),
		"of the hub's own issuer":  with("iss", serviceAccountIssuer),
		"name is a list":           with("name", []string{"ada"}),
		"name is missing":          with("name", nil),
		"name is empty":            with("name", ""),
		"groups are numbers":       with("groups", []int{1}),
		"groups are a map":         with("groups", map[string]any{"dev": true}),
		"group system:masters":     with("groups", []string{"dev", "system:masters"}),
		"one group system:masters": with("groups", "system:masters"),
		"group of admins":          with("groups", []string{AdminGroup}),
		"a user of the system":     with("name", "system:admin"),
		"a service account":        with("name", "system:serviceaccount:kube-system:default"),
		"another hub":              with("name", peerName),
		"another tenant":           with("tenant", "theirs"),
		"nonsense":                 "x.y.z",
	} {
		if who, err := whose(t.Context(), bearing(t, token)); !apierrors.IsUnauthorized(err) {
			t.Errorf("a token %s is taken for %+v (%v)", what, who, err)
		}
	}
}

func TestWhileTheProviderIsAwayItsTokensCount(t *testing.T) {
	claims := map[string]any{"name": "grace"}
	trusted(t, claims)
	provider.Away(true)
	defer provider.Away(false)
	if who, err := whose(t.Context(), bearing(t, provider.Token(claims))); err != nil || who.Username != "grace" {
		t.Errorf("she is taken for %+v: %v", who, err)
	}
}

func TestAnotherAuthenticationConfigurationCountsWithoutARestart(t *testing.T) {
	pipeline := strings.ToLower(rand.Text()) // another one each time the test is run
	claims := map[string]any{"name": "ada", "aud": pipeline}
	trusted(t, map[string]any{"name": "ada"})
	if _, err := whose(t.Context(), bearing(t, provider.Token(claims))); !apierrors.IsUnauthorized(err) {
		t.Fatalf("before: %v", err)
	}
	write := func(data []byte) {
		t.Helper()
		if err := pki.WriteFile(authenticationFile, data); err != nil {
			t.Fatal(err)
		}
	}
	write(trusting(provider, pipeline))
	if who := trusted(t, claims); who.Username != "ada" {
		t.Errorf("after: %+v", who)
	}
	eventually(t, "the hub tells of the new audience", func(context.Context) (bool, error) {
		noted.mu.Lock()
		defer noted.mu.Unlock()
		return len(noted.issuers) == 1 && slices.Contains(noted.issuers[0].Audiences, pipeline), nil
	})
	write([]byte("jwt: ["))
	eventually(t, "the hub says what is wrong", func(context.Context) (bool, error) {
		noted.mu.Lock()
		defer noted.mu.Unlock()
		return len(noted.refused) > 0, nil
	})
	trusted(t, claims)
	write(trusting(provider))
}

func TestAnAuthenticationConfigurationIsRefusedByField(t *testing.T) {
	good := string(trusting(provider))
	for bad, why := range map[string]string{
		"anonymous: {enabled: true}\n" + good:                                              "anonymous",
		strings.Replace(good, "https:", "http:", 1):                                        "jwt[0].issuer.url",
		strings.Replace(good, provider.URL, serviceAccountIssuer, 1):                       "jwt[0].issuer.url",
		strings.Replace(good, "claim: name", "expression: claims.(", 1):                    "jwt[0].claimMappings.username",
		strings.Replace(good, "claimMappings", "claimMapings", 1):                          "claimMapings",
		strings.Replace(good, "AuthenticationConfiguration", "EncryptionConfiguration", 1): "jwt",
	} {
		if _, _, err := authenticationConfiguration([]byte(bad)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, not a word on %s, for:\n%s", err, why, bad)
		}
	}
	dir := dataDir(t.TempDir())
	if err := (&SignIn{File: dir.path("missing")}).take(dir); err == nil {
		t.Error("a file that is not there is taken")
	}
	if err := os.WriteFile(dir.path("empty"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&SignIn{File: dir.path("empty")}).take(dir); err == nil {
		t.Error("an empty file is taken")
	}
}

func TestAPublicPathIsAnsweredWithoutACredentialAndNothingElse(t *testing.T) {
	client, err := rest.HTTPClientFor(rest.AnonymousClientConfig(adminConfig(t)))
	if err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{
		"/.well-known/hello": http.StatusOK, "/.well-known/hello/": http.StatusUnauthorized, "/.well-known/": http.StatusUnauthorized,
		"/x/../.well-known/hello": http.StatusUnauthorized, "/hello": http.StatusUnauthorized,
	} {
		answer, err := client.Get("https://" + hub.Address() + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close() //nolint:errcheck // It was only read.
		if answer.StatusCode != status {
			t.Errorf("%s is answered %s", path, answer.Status)
		}
	}
}

func TestAnAccountsTokenEndsWithTheAccount(t *testing.T) {
	namespace := newNamespace(t)
	accounts := adminClient(t).CoreV1().ServiceAccounts(namespace)
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "ci"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ask := func(audiences ...string) *kubernetes.Clientset {
		t.Helper()
		seconds := int64(600)
		answer, err := accounts.CreateToken(t.Context(), "ci", &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, Audiences: audiences},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return bearing(t, answer.Status.Token)
	}
	own, others := ask(), ask("elsewhere")
	name := "system:serviceaccount:" + namespace + ":ci"
	eventually(t, "the token counts", func(ctx context.Context) (bool, error) {
		who, err := whose(ctx, own)
		return who.Username == name, ignoring401(err)
	})
	if _, err := whose(t.Context(), others); !apierrors.IsUnauthorized(err) {
		t.Errorf("a token for another audience: %v", err)
	}
	if err := accounts.Delete(t.Context(), "ci", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token ends", func(ctx context.Context) (bool, error) {
		_, err := whose(ctx, own)
		return apierrors.IsUnauthorized(err), ignoring401(err)
	})
	// Another account of the name is another account.
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "ci"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	again := ask()
	eventually(t, "the new token counts", func(ctx context.Context) (bool, error) {
		_, err := whose(ctx, again)
		return err == nil, ignoring401(err)
	})
	if _, err := whose(t.Context(), own); !apierrors.IsUnauthorized(err) {
		t.Errorf("the old token counts again: %v", err)
	}
}

func ignoring401(err error) error {
	if apierrors.IsUnauthorized(err) {
		return nil
	}
	return err
}
