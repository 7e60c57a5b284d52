package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/trust"
)

// identitySecret holds the agent's keys; they are made here and never leave.
const identitySecret = "atoll-agent-identity"

// keys is the trust.KeyStore of an agent: a Secret of its member.
type keys struct {
	member kubernetes.Interface
}

func (k keys) Load(ctx context.Context) (trust.Identity, error) {
	s, err := k.member.CoreV1().Secrets(v1alpha1.SystemNamespace).Get(ctx, identitySecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return trust.Identity{}, trust.ErrNoIdentity
	}
	if err != nil {
		return trust.Identity{}, err
	}
	return trust.ParseIdentity(s.Data)
}

func (k keys) Save(ctx context.Context, id trust.Identity) error {
	data, err := id.Data()
	if err != nil {
		return err
	}
	secrets := k.member.CoreV1().Secrets(v1alpha1.SystemNamespace)
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: identitySecret, Namespace: v1alpha1.SystemNamespace},
		Type:       "atoll.dev/agent-identity",
		Data:       data,
	}
	_, err = secrets.Update(ctx, s, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = secrets.Create(ctx, s, metav1.CreateOptions{})
	}
	return err
}

func (a *agent) openTrust(ctx context.Context, store trust.KeyStore) (*trust.Client, error) {
	var roots trust.Roots
	if err := json.Unmarshal([]byte(a.Bootstrap.Roots), &roots); err != nil {
		return nil, fmt.Errorf("read the roots to pin from the bootstrap: %w", err)
	}
	var opened *trust.Client
	// A hub that lost its records knows the agent by the certificate, if there is one.
	show := func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert, err := opened.GetClientCertificate(info); err == nil {
			return cert, nil
		}
		return &tls.Certificate{}, nil
	}
	opened, err := trust.OpenClient(ctx, trust.ClientConfig{
		Store:      store,
		Cluster:    a.Bootstrap.Cluster,
		ClusterUID: a.uid,
		Roots:      roots,
		NewSealingKey: func() ([]byte, string, error) {
			key, err := seal.NewKey()
			if err != nil {
				return nil, "", err
			}
			private, err := key.Bytes()
			return private, key.Public(), err
		},
		AgentVersion: a.Version,
		Clock:        clock.Wall{},
		Connect: func(roots func() *x509.CertPool) *http.Client {
			return link.RenewClient(link.DialConfig{Address: a.Bootstrap.Address, Roots: roots, Now: clock.Now, ProxyURL: a.Proxy, GetClientCertificate: show})
		},
		Log: a.Log,
	})
	return opened, err
}

func ensureNamespace(ctx context.Context, member kubernetes.Interface) error {
	_, err := member.CoreV1().Namespaces().Get(ctx, v1alpha1.SystemNamespace, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}
	if _, err := member.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s in the member: %w", v1alpha1.SystemNamespace, err)
	}
	return nil
}
