package sandbox_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/internal/sandbox"
)

func TestDeploymentBecomesReadyWithUniqueAddresses(t *testing.T) {
	client, namespace := member(t)
	deployment := object[appsv1.Deployment](t, `
metadata: {name: web}
spec:
  replicas: 12
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: prepare, image: "prepare:1"}]
      containers: [{name: web, image: "web:1"}]`)
	if _, err := client.AppsV1().Deployments(namespace).Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "deployment ready", func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, "web", metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas != 12 {
			err = fmt.Errorf("%d of 12 available", d.Status.AvailableReplicas)
		}
		return err
	})
	pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cidr, seen := netip.MustParsePrefix(sandbox.Shared(t, "us-east-1").State().PodCIDR()), map[string]string{}
	for _, pod := range pods.Items {
		ip := pod.Status.PodIP
		if other := seen[ip]; other != "" && ip != "" {
			t.Errorf("%s and %s share address %s", other, pod.Name, ip)
		}
		seen[ip] = pod.Name
		if pod.Namespace == namespace && !cidr.Contains(netip.MustParseAddr(ip)) {
			t.Errorf("pod %s has address %s, outside %s", pod.Name, ip, cidr)
		}
		if pod.Namespace == namespace && pod.Status.InitContainerStatuses[0].State.Terminated == nil {
			t.Errorf("pod %s is ready before its init container has ended", pod.Name)
		}
	}
}

func TestStatefulSetGetsVolumesAndDeletedClaimsRelease(t *testing.T) {
	client, namespace := member(t)
	set := object[appsv1.StatefulSet](t, `
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: "db:1"}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}`)
	if _, err := client.AppsV1().StatefulSets(namespace).Create(t.Context(), set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stateful set ready", func(ctx context.Context) error {
		s, err := client.AppsV1().StatefulSets(namespace).Get(ctx, "db", metav1.GetOptions{})
		if err == nil && s.Status.ReadyReplicas != 2 {
			err = fmt.Errorf("%d of 2 ready", s.Status.ReadyReplicas)
		}
		return err
	})
	claim, err := client.CoreV1().PersistentVolumeClaims(namespace).Get(t.Context(), "data-db-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if claim.Status.Phase != corev1.ClaimBound || *claim.Spec.StorageClassName != "standard" {
		t.Fatalf("claim is %s on class %s, want Bound on standard", claim.Status.Phase, *claim.Spec.StorageClassName)
	}
	if err := client.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "volume deleted", func(ctx context.Context) error {
		_, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		return wantNotFound(err)
	})
	eventually(t, "namespace gone", func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		return wantNotFound(err)
	})
}

func wantNotFound(err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err == nil:
		return fmt.Errorf("still there")
	}
	return err
}

func TestClaimOnImmediateClassBindsWithoutAPod(t *testing.T) {
	client, namespace := member(t)
	claim := object[corev1.PersistentVolumeClaim](t, `
metadata: {name: data}
spec: {storageClassName: standard-immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}`)
	if _, err := client.CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "claim bound", func(ctx context.Context) error {
		c, err := client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, "data", metav1.GetOptions{})
		if err == nil && c.Status.Phase != corev1.ClaimBound {
			err = fmt.Errorf("claim is %s", c.Status.Phase)
		}
		return err
	})
}

func TestImageTagDecidesHowAJobEnds(t *testing.T) {
	client, namespace := member(t)
	for _, tc := range []struct {
		name, image, policy string
		want                batchv1.JobConditionType
		exitCode            int32
	}{
		{"plain", "task:1", "Never", batchv1.JobComplete, 0},
		{"slow", "task:slow", "OnFailure", batchv1.JobComplete, 0},
		{"fail", "task:fail", "Never", batchv1.JobFailed, 1},
		{"fail-onfailure", "task:fail", "OnFailure", batchv1.JobFailed, 1},
		{"fail-pinned", "task:fail@sha256:" + strings.Repeat("a", 64), "Never", batchv1.JobFailed, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			job := object[batchv1.Job](t, fmt.Sprintf(`
metadata: {name: %s}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: %s, containers: [{name: task, image: %q}]}}`, tc.name, tc.policy, tc.image))
			if _, err := client.BatchV1().Jobs(namespace).Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "job is "+string(tc.want), func(ctx context.Context) error {
				j, err := client.BatchV1().Jobs(namespace).Get(ctx, tc.name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				for _, c := range j.Status.Conditions {
					if c.Type == tc.want && c.Status == corev1.ConditionTrue {
						return nil
					}
				}
				return fmt.Errorf("conditions are %v", j.Status.Conditions)
			})
			pods, err := client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=" + tc.name})
			if err != nil || len(pods.Items) != 1 {
				t.Fatalf("want one pod, got %d: %v", len(pods.Items), err)
			}
			ended := pods.Items[0].Status.ContainerStatuses[0].State.Terminated
			if ended == nil || ended.ExitCode != tc.exitCode {
				t.Errorf("container ended as %v, want exit code %d", ended, tc.exitCode)
			}
		})
	}
}

func TestBrokenImageCrashLoopsAndIsNeverReady(t *testing.T) {
	client, namespace := member(t)
	pod := createPod(t, client, namespace, `
metadata: {name: web}
spec: {containers: [{name: web, image: "web:broken"}, {name: sidecar, image: "proxy:1"}]}`)
	pod = podBecomes(t, client, pod, "restarts again and again", func(p *corev1.Pod) bool {
		if ready(p) {
			t.Error("a broken pod is ready")
		}
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount >= 2
	})
	status := pod.Status.ContainerStatuses
	if w := status[0].State.Waiting; w == nil || w.Reason != "CrashLoopBackOff" {
		t.Errorf("container is %+v, want it to wait in CrashLoopBackOff", status[0].State)
	}
	if !status[1].Ready || status[1].RestartCount != 0 {
		t.Errorf("the sound container is affected: %+v", status[1])
	}
}

func TestSlowImageIsNotReadyAtOnce(t *testing.T) {
	client, namespace := member(t)
	pod := createPod(t, client, namespace, "metadata: {name: web}\nspec: {containers: [{name: web, image: \"web:slow\"}]}")
	running := podBecomes(t, client, pod, "runs", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if ready(running) {
		t.Error("a slow pod was ready when it was first seen running")
	}
	podBecomes(t, client, pod, "is ready in the end", ready)
}

func TestReadinessGateHoldsReadinessBack(t *testing.T) {
	client, namespace := member(t)
	pod := createPod(t, client, namespace, `
metadata: {name: web}
spec: {readinessGates: [{conditionType: example.com/open}], containers: [{name: web, image: "web:1"}]}`)
	running := podBecomes(t, client, pod, "runs", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if ready(running) {
		t.Error("the pod is ready although its gate is closed")
	}
	open := []byte(`{"status":{"conditions":[{"type":"example.com/open","status":"True"}]}}`)
	if _, err := client.CoreV1().Pods(namespace).Patch(t.Context(), "web", types.StrategicMergePatchType, open, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	podBecomes(t, client, pod, "is ready once the gate is open", ready)
}

func TestDeletedPodHasAFinalPhaseBeforeItGoes(t *testing.T) {
	client, namespace := member(t)
	pod := createPod(t, client, namespace, `
metadata: {name: web, finalizers: [example.com/keep]}
spec: {containers: [{name: web, image: "web:1"}]}`)
	podBecomes(t, client, pod, "is ready", ready)
	if err := client.CoreV1().Pods(namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	podBecomes(t, client, pod, "has ended", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	// Patch, not Update: its kubelet writes it too.
	if _, err := client.CoreV1().Pods(namespace).Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pod gone", func(ctx context.Context) error {
		_, err := client.CoreV1().Pods(namespace).Get(ctx, "web", metav1.GetOptions{})
		return wantNotFound(err)
	})
}

func TestLogsAreReadThroughTheAPI(t *testing.T) {
	client, namespace := member(t)
	pod := createPod(t, client, namespace, "metadata: {name: web}\nspec: {containers: [{name: web, image: \"web:1\"}]}")
	podBecomes(t, client, pod, "is ready", ready)
	data, err := client.CoreV1().Pods(namespace).GetLogs("web", &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := "from image web:1"; !strings.Contains(string(data), want) {
		t.Errorf("log %q does not contain %q", data, want)
	}
}

func TestNodesCarryTheirProvidersMarks(t *testing.T) {
	client, _ := member(t)
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 2 {
		t.Fatalf("want two nodes, got %d: %v", len(nodes.Items), err)
	}
	node := nodes.Items[0]
	for label, want := range map[string]string{
		corev1.LabelTopologyRegion: "us-east-1", corev1.LabelTopologyZone: "us-east-1a",
		corev1.LabelHostname: node.Name, corev1.LabelInstanceTypeStable: "m6i.2xlarge",
	} {
		if got := node.Labels[label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
	if !strings.HasPrefix(node.Spec.ProviderID, "aws:///us-east-1a/i-0") {
		t.Errorf("provider ID is %q", node.Spec.ProviderID)
	}
}

func TestAServiceOfTypeLoadBalancerGetsAnAddressAndGivesItBack(t *testing.T) {
	client, namespace := member(t)
	services := client.CoreV1().Services(namespace)
	service := object[corev1.Service](t, `
metadata: {name: shop}
spec: {type: LoadBalancer, ports: [{port: 80}]}`)
	if _, err := services.Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	addresses := func(ctx context.Context, want int) error {
		s, err := services.Get(ctx, "shop", metav1.GetOptions{})
		if err == nil && len(s.Status.LoadBalancer.Ingress) != want {
			err = fmt.Errorf("it has %v", s.Status.LoadBalancer.Ingress)
		}
		return err
	}
	eventually(t, "an address", func(ctx context.Context) error { return addresses(ctx, 1) })
	if _, err := services.Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"spec":{"type":"ClusterIP"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no address", func(ctx context.Context) error { return addresses(ctx, 0) })
}
