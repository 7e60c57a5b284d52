package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// serviceAccountsOnly finds what a service account's token refers to. The hub
// has no pods and no nodes; and it honours no token bound to a Secret, because
// that would keep every Secret in memory in clear.
type serviceAccountsOnly struct {
	accounts corelisters.ServiceAccountLister
}

func tokenOwners(factory informers.SharedInformerFactory) serviceaccount.ServiceAccountTokenGetter {
	return serviceAccountsOnly{factory.Core().V1().ServiceAccounts().Lister()}
}

func (s serviceAccountsOnly) GetServiceAccount(_ context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return s.accounts.ServiceAccounts(namespace).Get(name)
}

func (serviceAccountsOnly) GetSecret(_ context.Context, _, name string) (*corev1.Secret, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
}

func (serviceAccountsOnly) GetPod(_ context.Context, _, name string) (*corev1.Pod, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
}

func (serviceAccountsOnly) GetNode(_ context.Context, name string) (*corev1.Node, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("nodes"), name)
}
