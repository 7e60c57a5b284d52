package agent

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"atoll.dev/atoll/internal/wire"
)

func TestWhatIsWrongWithANewAgentIsNamedAndWaitedForOnlyWhereThatMayHelp(t *testing.T) {
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "as kubelet says"}}
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for _, tt := range []struct {
		what     string
		status   corev1.ContainerStatus
		why      string
		hopeless bool
	}{
		{"pulls", corev1.ContainerStatus{State: waiting("ContainerCreating")}, "ContainerCreating: as kubelet says", false},
		{"a pull failed once", corev1.ContainerStatus{State: waiting("ErrImagePull")}, "ErrImagePull: as kubelet says", false},
		{"pulls fail", corev1.ContainerStatus{State: waiting("ImagePullBackOff")}, "ImagePullBackOff: as kubelet says", true},
		{"no image's name", corev1.ContainerStatus{State: waiting("InvalidImageName")}, "InvalidImageName: as kubelet says", true},
		{"ended once", corev1.ContainerStatus{State: ended}, "the new agent ended with exit code 3", false},
		{"ends again", corev1.ContainerStatus{State: waiting("CrashLoopBackOff"), LastTerminationState: ended, RestartCount: 2},
			"the new agent ended 2 times, last with exit code 3", true},
		{"is mute", corev1.ContainerStatus{State: running}, "the new agent runs, and does not reach the hub", false},
	} {
		if why, hopeless := plight(tt.status); why != tt.why || hopeless != tt.hopeless {
			t.Errorf("%s: %q, %v", tt.what, why, hopeless)
		}
	}
}

func TestOnlyTheLastWishCounts(t *testing.T) {
	u := &upgrader{wishes: make(chan wire.Upgrade, 1)}
	for _, image := range []string{"v2", "v3", "v4"} {
		u.wish(wire.Upgrade{Image: image})
	}
	if got := <-u.wishes; got.Image != "v4" || len(u.wishes) != 0 {
		t.Errorf("it is %s", got.Image)
	}
}
