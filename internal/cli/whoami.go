package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"atoll.dev/atoll/internal/signin"
)

// userInfo is a caller as the hub knows them.
type userInfo struct {
	Username string   `json:"username"`
	UID      string   `json:"uid,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// identity is what -o json prints.
type identity struct {
	userInfo
	Hub     string `json:"hub"`
	Context string `json:"context,omitempty"`
	// Issuer is with whom the session was begun.
	Issuer string `json:"issuer,omitempty"`
	// Until is when the credential ends, where that can be seen.
	Until   *metav1.Time `json:"until,omitempty"`
	Renewed bool         `json:"renewed,omitempty"`
}

func newWhoami(c *console) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Who the hub takes you for, in which groups, and until when",
		Example: `  atoll whoami
  atoll whoami -o json`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.whoami(cmd.Context(), output) },
	}
	addOutput(cmd, &output)
	return cmd
}

func (c *console) whoami(ctx context.Context, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	who, err := whoIs(ctx, h.objects)
	if err != nil {
		return err
	}
	i := identity{userInfo: *who, Hub: h.config.Host}
	if err := c.credentialOf(h.config, &i); err != nil {
		return err
	}
	if output != "text" {
		return encode(c.Out, output, i)
	}
	p := &page{}
	p.field("User", i.Username)
	p.field("Groups", strings.Join(i.Groups, ", "))
	p.field("Hub", i.Hub)
	p.field("Context", i.Context)
	p.field("Signed in at", i.Issuer)
	if i.Until != nil {
		until := when(i.Until.Time)
		if i.Renewed {
			until += ", and is then renewed"
		}
		p.field("Good until", until)
	}
	return p.write(c.Out, view{ink: c.ink, width: c.width, now: c.now()})
}

// whoIs asks the hub who calls it.
func whoIs(ctx context.Context, objects dynamic.Interface) (*userInfo, error) {
	reviews := schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
	review := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}}
	answer, err := objects.Resource(reviews).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	info, _, err := unstructured.NestedMap(answer.Object, "status", "userInfo")
	if err != nil {
		return nil, fmt.Errorf("read who the hub takes you for: %w", err)
	}
	who := &userInfo{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(info, who); err != nil {
		return nil, fmt.Errorf("read who the hub takes you for: %w", err)
	}
	return who, nil
}

// credentialOf tells how long one is who one is: by the session, or the
// certificate.
func (c *console) credentialOf(config *rest.Config, i *identity) error {
	loader, err := c.loader()
	if err != nil {
		return err
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return wrong("read the kubeconfig: %v", err)
	}
	if i.Context = c.context; i.Context == "" {
		i.Context = raw.CurrentContext
	}
	if id := signin.SessionOf(&raw, i.Context); id != "" {
		sessions, err := signin.DefaultSessions()
		if err != nil {
			return err
		}
		s, err := sessions.Load(id)
		if err != nil {
			return err
		}
		i.Issuer, i.Until, i.Renewed = s.Issuer, &metav1.Time{Time: s.GoodUntil}, s.RefreshToken != ""
		return nil
	}
	i.Until = certificateEnd(config)
	return nil
}

// certificateEnd is nil for who comes without a certificate.
func certificateEnd(config *rest.Config) *metav1.Time {
	settings, err := config.TransportConfig()
	if err != nil {
		return nil
	}
	if _, err := transport.TLSConfigFor(settings); err != nil { // it reads the files
		return nil
	}
	block, _ := pem.Decode(settings.TLS.CertData)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return &metav1.Time{Time: cert.NotAfter}
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }
