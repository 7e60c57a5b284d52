package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	apiservervalidation "k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/util/filesystem"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// SignIn has tokens of others count, as a file says.
type SignIn struct {
	// File is an AuthenticationConfiguration of Kubernetes
	// (apiserver.config.k8s.io/v1), read again when it changes; empty for none.
	File string
	// Taken hears of the issuers of each file that counts, in its order, Refused
	// why a changed file does not: then the one before counts on. Either may be nil.
	Taken   func([]TokenIssuer)
	Refused func(error)
}

// TokenIssuer is one whose tokens count.
type TokenIssuer struct {
	URL       string
	Audiences []string
	// CA is the PEM of its certificate's authority; empty for one that is known.
	CA string
}

// tokenMemory is how long an answer about a token is believed, and so how late
// one that was revoked is noticed at the latest.
const tokenMemory = time.Second

// ownNames keeps names of Kubernetes and of the hub itself from tokens of
// others: RBAC gives system:masters everything, and certificates give the rest.
// A user without a name, which Kubernetes lets a claim make, would be nobody's.
var ownNames = []apiserver.UserValidationRule{
	{
		Expression: "user.username != ''",
		Message:    "a user needs a name",
	},
	{
		Expression: "!user.username.startsWith('system:') && !user.username.startsWith('atoll:')",
		Message:    "user names that begin with system: or atoll: are the hub's own",
	},
	{
		Expression: "user.groups.all(group, !group.startsWith('system:') && !group.startsWith('atoll:'))",
		Message:    "groups that begin with system: or atoll: are the hub's own",
	},
}

// isOwn is for a file that says the same, which may stand there once.
func isOwn(rule apiserver.UserValidationRule) bool {
	return slices.ContainsFunc(ownNames, func(own apiserver.UserValidationRule) bool { return own.Expression == rule.Expression })
}

var authenticationCodecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict)
}()

// anonymousPaths answer callers without a credential with the server's health
// and nothing else; everything else answers them 401.
var anonymousPaths = []string{"/livez", "/readyz", "/healthz"}

// authenticationConfiguration is what the API server reads: our own part, and
// the issuers of a person's file, which may be empty.
func authenticationConfiguration(data []byte) ([]byte, []TokenIssuer, error) {
	config := &apiserver.AuthenticationConfiguration{}
	if len(bytes.TrimSpace(data)) > 0 {
		decoded, err := runtime.Decode(authenticationCodecs.UniversalDecoder(), data)
		if err != nil {
			return nil, nil, fmt.Errorf("read the authentication configuration: %w", err)
		}
		ok := false
		if config, ok = decoded.(*apiserver.AuthenticationConfiguration); !ok {
			return nil, nil, fmt.Errorf("read the authentication configuration: it is of kind %T", decoded)
		}
	}
	if config.Anonymous != nil {
		return nil, nil, errors.New("the authentication configuration has anonymous, which the hub sets by itself; leave it out")
	}
	config.Anonymous = &apiserver.AnonymousAuthConfig{Enabled: true}
	for _, path := range anonymousPaths {
		config.Anonymous.Conditions = append(config.Anonymous.Conditions, apiserver.AnonymousAuthCondition{Path: path})
	}
	issuers := []TokenIssuer{}
	for i := range config.JWT {
		jwt := &config.JWT[i]
		if jwt.Issuer.EgressSelectorType != "" {
			return nil, nil, field.Forbidden(field.NewPath("jwt").Index(i).Child("issuer", "egressSelectorType"), "the hub has no egress selectors")
		}
		jwt.UserValidationRules = slices.DeleteFunc(jwt.UserValidationRules, isOwn)
		jwt.UserValidationRules = append(jwt.UserValidationRules, ownNames...)
		issuers = append(issuers, TokenIssuer{URL: jwt.Issuer.URL, Audiences: jwt.Issuer.Audiences, CA: jwt.Issuer.CertificateAuthority})
	}
	errs := apiservervalidation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), config, []string{serviceAccountIssuer})
	if err := errs.ToAggregate(); err != nil {
		return nil, nil, fmt.Errorf("the authentication configuration: %w", err)
	}
	info, _ := runtime.SerializerInfoForMediaType(authenticationCodecs.SupportedMediaTypes(), runtime.ContentTypeYAML)
	out, err := runtime.Encode(authenticationCodecs.EncoderForVersion(info.Serializer, apiserverv1.SchemeGroupVersion), config)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the authentication configuration: %w", err)
	}
	return out, issuers, nil
}

// take writes what the API server reads, and follows by itself.
func (s *SignIn) take(d dataDir) error {
	var data []byte
	if s.File != "" {
		var err error
		if data, err = os.ReadFile(s.File); err != nil {
			return fmt.Errorf("read the authentication configuration: %w", err)
		}
		if len(bytes.TrimSpace(data)) == 0 {
			return fmt.Errorf("the authentication configuration %s is empty", s.File)
		}
	}
	config, issuers, err := authenticationConfiguration(data)
	if err != nil {
		return err
	}
	// The server looks at each write of its file, though nothing changed.
	if there, err := os.ReadFile(d.authenticationFile()); err != nil || !bytes.Equal(there, config) {
		if err := pki.WriteFile(d.authenticationFile(), config); err != nil {
			return err
		}
	}
	if s.Taken != nil {
		s.Taken(issuers)
	}
	return nil
}

// follow takes the file whenever it changes, as kube-apiserver does.
func (s *SignIn) follow(ctx context.Context, d dataDir) {
	if s.File == "" {
		return
	}
	// The file is looked at every minute, and the same complaint heard once.
	last := ""
	refuse := func(err error) {
		if s.Refused != nil && err.Error() != last {
			s.Refused(err)
		}
		last = err.Error()
	}
	filesystem.WatchUntil(ctx, time.Minute, s.File, func() {
		if err := s.take(d); err != nil {
			refuse(err)
		} else {
			last = ""
		}
	}, refuse)
}

// beforeAuthentication answers some paths to everybody, exactly those.
func beforeAuthentication(handlers map[string]http.Handler, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler := handlers[r.URL.Path]; handler != nil {
			handler.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
