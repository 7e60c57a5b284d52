// Package usage decides what simulated containers and nodes are said to use.
// Nothing is measured: no program runs. It is derived so that what scales or
// reports by usage has something true to the traffic to work on:
//
//   - A container's CPU is a twentieth of what it requests, at least 1m, and
//     RequestCost for each HTTP request that it answered, averaged over Window;
//     a container at one request a second uses 10m more than an idle one. Its
//     limit throttles it.
//   - A container's memory is half of what it requests, or 16Mi without a
//     request, and never above its limit.
//   - A node uses what its pods use, and a fiftieth of its CPU and a twentieth
//     of its memory for itself.
//
// Who asks, how requests are counted and which pods run is left to others.
package usage

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	// Window is what an answer is averaged over, as metrics-server's is.
	Window = 15 * time.Second
	// RequestCost is the CPU time that one HTTP request takes.
	RequestCost = 10 * time.Millisecond

	idleMilliCPU = 1
	idleMemory   = 16 << 20
)

// Container is what a container uses that served so many requests in Window.
func Container(spec corev1.ResourceRequirements, served int64) corev1.ResourceList {
	cpu := max(spec.Requests.Cpu().MilliValue()/20, idleMilliCPU)
	cpu += served * RequestCost.Milliseconds() * int64(time.Second) / int64(Window)
	memory := int64(idleMemory)
	if requested := spec.Requests.Memory().Value(); requested > 0 {
		memory = requested / 2
	}
	return amounts(atMost(cpu, spec.Limits.Cpu().MilliValue()), atMost(memory, spec.Limits.Memory().Value()))
}

// Node is what a node of that size uses with those containers on it.
func Node(size corev1.ResourceList, containers []corev1.ResourceList) corev1.ResourceList {
	cpu, memory := size.Cpu().MilliValue()/50, size.Memory().Value()/20
	for _, c := range containers {
		cpu, memory = cpu+c.Cpu().MilliValue(), memory+c.Memory().Value()
	}
	return amounts(atMost(cpu, size.Cpu().MilliValue()), atMost(memory, size.Memory().Value()))
}

// atMost keeps a value within a limit; zero is none.
func atMost(value, limit int64) int64 {
	if limit > 0 {
		return min(value, limit)
	}
	return value
}

func amounts(milliCPU, memory int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(milliCPU, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
	}
}
