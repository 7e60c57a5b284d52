// Package component is the servers that a sandbox cluster is made of, each as
// the command it is elsewhere: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler, and kwok, which plays the kubelets and the volume driver. It
// decides how simulated nodes, pods and volumes behave. Who starts it, with
// which files and ports, is left to package sandbox.
//
// It links all of Kubernetes, so nothing but cmd/atoll-sandbox may import it.
package component

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	_ "time/tzdata" // CronJob time zones work on a machine without a zone database

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"atoll.dev/atoll/internal/sandbox"
)

var servers = map[string]func([]string) int{
	sandbox.Etcd:              func(args []string) int { return report(runEtcd(args)) },
	sandbox.Kwok:              func(args []string) int { return report(runKwok(context.Background(), args)) },
	sandbox.Node:              func(args []string) int { return report(runNode(args)) },
	sandbox.Edge:              func(args []string) int { return report(runEdge(context.Background(), args)) },
	sandbox.APIServer:         serve(apiserver.NewAPIServerCommand),
	sandbox.ControllerManager: serve(controllermanager.NewControllerManagerCommand),
	sandbox.Scheduler: serve(func() *cobra.Command {
		return scheduler.NewSchedulerCommand()
	}),
}

// Main runs one component until it is ended and returns its exit code. The
// arguments are its name and, after an optional "--", its flags.
func Main(args []string) int {
	if len(args) == 0 || servers[args[0]] == nil {
		fmt.Fprintf(os.Stderr, "component must be one of %s\n", strings.Join(sandbox.Components, ", "))
		return 2
	}
	followLifeline()
	go trimMemory()
	flags := slices.Clone(args[1:])
	if len(flags) > 0 && flags[0] == "--" {
		flags = flags[1:]
	}
	return servers[args[0]](flags)
}

func serve(newCommand func() *cobra.Command) func([]string) int {
	return func(args []string) int {
		command := newCommand()
		command.SetArgs(args)
		return cli.Run(command)
	}
}

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// onOrphaned is what this component does before it follows its owner.
var onOrphaned atomic.Pointer[func()]

// followLifeline ends this process when the pipe it inherited ends, which is
// when its owner has gone by whatever death. Unlike the kernel's parent-death
// signal it does not depend on which thread of the owner forked.
func followLifeline() {
	fd, err := strconv.Atoi(os.Getenv(sandbox.LifelineVariable))
	if err != nil {
		return
	}
	pipe := os.NewFile(uintptr(fd), "lifeline")
	go func() {
		io.Copy(io.Discard, pipe)
		if end := onOrphaned.Load(); end != nil {
			(*end)()
		}
		if dir := os.Getenv(sandbox.LifelineRemoveVariable); dir != "" {
			os.RemoveAll(dir)
		}
		os.Exit(0)
	}()
}
