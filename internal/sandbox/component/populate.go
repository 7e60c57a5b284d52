package component

import (
	"context"
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	corev1 "k8s.io/api/core/v1"

	"atoll.dev/atoll/internal/sandbox"
)

// populate creates the nodes and storage objects that are missing. It never
// changes one that exists: a test may have.
func populate(ctx context.Context, client kubernetes.Interface, state sandbox.State) error {
	for n := range state.Spec.Nodes {
		node, err := buildNode(state, n)
		if err != nil {
			return err
		}
		if err := insist(ctx, "create node "+node.Name, func() error {
			_, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
			return err
		}); err != nil {
			return err
		}
	}
	return populateStorage(ctx, client)
}

func populateStorage(ctx context.Context, client kubernetes.Interface) error {
	if err := insist(ctx, "create CSI driver", func() error {
		_, err := client.StorageV1().CSIDrivers().Create(ctx, csiDriver(), metav1.CreateOptions{})
		return err
	}); err != nil {
		return err
	}
	for _, class := range storageClasses() {
		if err := insist(ctx, "create storage class "+class.Name, func() error {
			_, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// insist creates an object, which may exist already, through the moments in
// which a starting or killed API server refuses.
func insist(ctx context.Context, what string, create func() error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		last = create()
		if apierrors.IsInvalid(last) || apierrors.IsBadRequest(last) {
			return false, last
		}
		return last == nil || apierrors.IsAlreadyExists(last), nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, err, last)
	}
	return nil
}

// csiDriver says that volumes need no attaching, or the controller manager
// would wait for an attacher that nobody plays.
func csiDriver() *storagev1.CSIDriver {
	no := false
	return &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: driverName},
		Spec:       storagev1.CSIDriverSpec{AttachRequired: &no, PodInfoOnMount: &no},
	}
}

// storageClasses are the default, which like the clouds' binds when a pod
// first needs the volume, and one that binds at once.
func storageClasses() []*storagev1.StorageClass {
	class := func(name string, mode storagev1.VolumeBindingMode) *storagev1.StorageClass {
		reclaim := corev1.PersistentVolumeReclaimDelete
		return &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: driverName,
			ReclaimPolicy: &reclaim, VolumeBindingMode: &mode,
		}
	}
	standard := class("standard", storagev1.VolumeBindingWaitForFirstConsumer)
	standard.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	return []*storagev1.StorageClass{standard, class("standard-immediate", storagev1.VolumeBindingImmediate)}
}
