package join

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// user is the unprivileged user of minimal images.
const user = 65532

// deployment runs one agent. A new one starts beside the old, which is ended
// only when the new one has shown for a moment that it could act: one that
// cannot start, or cannot reach the hub, replaces nobody. Of both the Lease lets
// one act.
func deployment(image string) *appsv1.Deployment {
	selector := map[string]string{"app.kubernetes.io/name": AgentAccount}
	one, surge, none := int32(1), intstr.FromInt32(1), intstr.FromInt32(0)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: own(AgentAccount),
		Spec: appsv1.DeploymentSpec{
			Replicas: &one,
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &none},
			},
			MinReadySeconds: 5,
			Selector:        &metav1.LabelSelector{MatchLabels: selector},
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
		Name:           AgentContainer,
		Image:          image,
		Args:           []string{"run", "--bootstrap", BootstrapDir, "--health-listen", "$(ATOLL_POD_IP):8080"},
		Env:            []corev1.EnvVar{field(PodNameVariable, "metadata.name"), field(PodUIDVariable, "metadata.uid"), field("ATOLL_POD_IP", "status.podIP")},
		Ports:          []corev1.ContainerPort{{Name: "probes", ContainerPort: probes, Protocol: corev1.ProtocolTCP}},
		ReadinessProbe: probe("/readyz", 2),
		LivenessProbe:  probe("/healthz", 20),
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

// probes is the port on which the agent answers its pod's probes.
const probes = 8080

func probe(path string, every int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:   corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("probes")}},
		PeriodSeconds:  every,
		TimeoutSeconds: 5,
	}
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}
