package join

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// user is the unprivileged user of minimal images.
const user = 65532

// deployment runs one agent. It is replaced rather than rolled: two at a time
// would be one identity twice.
func deployment(image string) *appsv1.Deployment {
	selector := map[string]string{"app.kubernetes.io/name": AgentAccount}
	one := int32(1)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: own(AgentAccount),
		Spec: appsv1.DeploymentSpec{
			Replicas: &one,
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels()},
				Spec:       pod(image),
			},
		},
	}
}

func pod(image string) corev1.PodSpec {
	yes, id := true, int64(user)
	return corev1.PodSpec{
		ServiceAccountName: AgentAccount,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   &yes,
			RunAsUser:      &id,
			RunAsGroup:     &id,
			FSGroup:        &id,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{container(image)},
		Volumes: []corev1.Volume{{
			Name:         "bootstrap",
			VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: BootstrapSecret}},
		}},
	}
}

func container(image string) corev1.Container {
	yes, no := true, false
	return corev1.Container{
		Name:  "agent",
		Image: image,
		Args:  []string{"run", "--bootstrap", BootstrapDir},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
		},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no,
			ReadOnlyRootFilesystem:   &yes,
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "bootstrap", MountPath: BootstrapDir, ReadOnly: true}},
	}
}
