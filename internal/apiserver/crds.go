package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

// fieldManager owns what the control plane itself writes.
const fieldManager = "atoll-hub"

// pollInterval paces the waits of the start, which take some hundred ms each.
const pollInterval = 10 * time.Millisecond

// installCRDs applies the custom resource definitions and waits until the
// server answers for each of them. Those that are there as wanted stay: applying
// them again would write nothing either, but compile all their rules to find out.
func installCRDs(ctx context.Context, config *rest.Config, crds []*apiextensionsv1.CustomResourceDefinition) error {
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make the client for custom resources: %w", err)
	}
	if err := awaitAPIExtensions(ctx, client.Discovery()); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, crd := range crds {
		group.Go(func() error {
			there, err := isInstalled(ctx, client, crd)
			if err == nil && !there {
				err = applyCRD(ctx, client, crd)
			}
			if err != nil {
				return fmt.Errorf("install %s: %w", crd.Name, err)
			}
			if err := awaitServed(ctx, client.Discovery(), crd); err != nil {
				return fmt.Errorf("wait until %s is served: %w", crd.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// awaitAPIExtensions waits until definitions can be written, which is before
// the server calls itself ready.
func awaitAPIExtensions(ctx context.Context, client discovery.DiscoveryInterface) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		last = client.RESTClient().Get().AbsPath(definitionsPath).Param("limit", "1").Do(ctx).Error()
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for custom resource definitions to be served: %w", errors.Join(err, last))
	}
	return nil
}

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// isInstalled says that a definition needs no write. One that reads otherwise than
// it was written is only applied again.
func isInstalled(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) (bool, error) {
	live, err := client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, crd.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	wanted := crd.DeepCopy()
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(wanted)
	return equality.Semantic.DeepEqual(wanted.Spec, live.Spec) &&
		has(live.Labels, wanted.Labels) && has(live.Annotations, wanted.Annotations), nil
}

// has says that all that is wanted is among what is there.
func has(there, wanted map[string]string) bool {
	for k, v := range wanted {
		if found, ok := there[k]; !ok || found != v {
			return false
		}
	}
	return true
}

func applyCRD(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	wanted := crd.DeepCopy()
	wanted.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	wanted.ManagedFields, wanted.ResourceVersion, wanted.UID = nil, "", ""
	data, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	// Without its status, which is the server's to write.
	var content map[string]any
	if err := json.Unmarshal(data, &content); err != nil {
		return err
	}
	delete(content, "status")
	if data, err = json.Marshal(content); err != nil {
		return err
	}
	_, err = client.ApiextensionsV1().CustomResourceDefinitions().Patch(ctx, crd.Name, types.ApplyPatchType, data,
		metav1.PatchOptions{FieldManager: fieldManager, Force: ptr.To(true)})
	return err
}

// awaitServed waits for discovery, not for the condition Established alone: a
// request right after that condition may still find nothing.
func awaitServed(ctx context.Context, client discovery.DiscoveryInterface, crd *apiextensionsv1.CustomResourceDefinition) error {
	return wait.PollUntilContextCancel(ctx, pollInterval, true, func(context.Context) (bool, error) {
		for _, version := range crd.Spec.Versions {
			if version.Served && !isDiscovered(client, crd.Spec.Group+"/"+version.Name, crd.Spec.Names.Plural) {
				return false, nil
			}
		}
		return true, nil
	})
}

func isDiscovered(client discovery.DiscoveryInterface, groupVersion, plural string) bool {
	list, err := client.ServerResourcesForGroupVersion(groupVersion)
	return err == nil && slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == plural })
}
