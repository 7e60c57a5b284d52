package usage

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"
)

func list(cpu, memory string) corev1.ResourceList {
	l := corev1.ResourceList{}
	if cpu != "" {
		l[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		l[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return l
}

func text(l corev1.ResourceList) string { return l.Cpu().String() + " " + l.Memory().String() }

func TestUsageFollowsWhatWasServed(t *testing.T) {
	for _, tc := range []struct {
		name             string
		requests, limits corev1.ResourceList
		served           int64
		want             string
	}{
		{"an idle container that requests nothing", nil, nil, 0, "1m 16Mi"},
		{"an idle container", list("100m", "64Mi"), nil, 0, "5m 32Mi"},
		{"one request a second", list("100m", "64Mi"), nil, 15, "15m 32Mi"},
		{"many requests", list("100m", ""), nil, 1500, "1005m 16Mi"},
		{"limits hold", list("100m", "64Mi"), list("200m", "8Mi"), 1500, "200m 8Mi"},
	} {
		if got := text(Container(corev1.ResourceRequirements{Requests: tc.requests, Limits: tc.limits}, tc.served)); got != tc.want {
			t.Errorf("%s uses %s, want %s", tc.name, got, tc.want)
		}
	}
	if got := text(Node(list("8", "32Gi"), []corev1.ResourceList{list("40m", "1Gi"), list("1", "")})); got != "1200m 2791728742" {
		t.Errorf("a node uses %s", got)
	}
}

func TestANodeNeverUsesMoreThanItHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := list(fmt.Sprint(rapid.IntRange(1, 64).Draw(t, "cpu")), "1Gi")
		var on []corev1.ResourceList
		for range rapid.IntRange(0, 20).Draw(t, "containers") {
			requests := list(fmt.Sprintf("%dm", rapid.IntRange(0, 4000).Draw(t, "request")), "100Mi")
			on = append(on, Container(corev1.ResourceRequirements{Requests: requests}, rapid.Int64Range(0, 1e6).Draw(t, "served")))
		}
		got := Node(size, on)
		for name, has := range size {
			if used := got[name]; used.Cmp(has) > 0 || used.Sign() <= 0 {
				t.Fatalf("%s of %s %s", used.String(), has.String(), name)
			}
		}
	})
}
