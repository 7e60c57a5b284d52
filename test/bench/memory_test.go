package bench_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/bench"
)

// bareArgument makes this program an embedded API server and nothing else.
const bareArgument = "bare-api-server"

// idle is how long a process is left alone before its memory is read.
const idle = 10 * time.Second

func hubMemory(b *bed) { b.hubMemory("hub-memory") }

// hubMemory is the private memory of the hub with its clusters idle; the limit is the
// control plane that it embeds, alone in a process.
func (b *bed) hubMemory(name string) {
	bare := b.startBare()
	time.Sleep(idle)
	ours, err := bench.MemoryOf(b.fleet.Hub.PID())
	b.must(err)
	limit, err := bench.MemoryOf(bare)
	b.must(err)
	b.report(bench.Result{
		Name: name, Value: ours.Private, Unit: "MB", Limit: limit.Private, Aim: "< 300 MB",
		Notes: map[string]float64{"clusters": float64(len(b.members))},
	})
}

// startBare returns the process once it serves; it ends with the figure.
func (b *bed) startBare() int {
	b.t.Helper()
	self, err := os.Executable()
	b.must(err)
	cmd := exec.CommandContext(b.t.Context(), self, bareArgument)
	cmd.Dir = b.t.TempDir()
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // its end is this process's
	b.must(err)
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(cmd.Start())
	b.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait() // killed
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.t.Fatalf("the bare API server does not start: %v", err)
	}
	return cmd.Process.Pid
}

// runBare serves until its standard input ends, which it does with whoever
// started it.
func runBare() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dir, err := filepath.Abs("data")
	if err == nil {
		_, err = apiserver.Start(ctx, apiserver.Options{DataDir: dir, Listen: "127.0.0.1:0"})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// agentMemory is the resident memory of the largest agent, with the sample application in
// its cluster. That stays there for the figures that follow.
func agentMemory(b *bed) {
	const example = "../../examples/shop"
	b.fleet.Hub.MustCLI("apply", "-f", example+"/project.yaml")
	b.fleet.Hub.MustCLI("deploy", "shop", "-f", example+"/deploy", "--project", "demo", "--to", label, "--wait")
	time.Sleep(idle)
	most, own := 0.0, 0.0
	for _, m := range b.members {
		used, err := bench.MemoryOf(m.Agent.PID())
		b.must(err)
		most, own = max(most, used.Resident), max(own, used.Private)
	}
	b.report(bench.Result{
		Name: "agent-memory", Value: most, Unit: "MB", Aim: "< 60 MB",
		Notes: map[string]float64{"private": own},
	})
}
