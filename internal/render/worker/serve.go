package worker

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/render/tree"
)

// Command is the verb of a program that starts itself as its workers.
func Command() *cobra.Command {
	return &cobra.Command{
		Use: Verb, Hidden: true, Args: cobra.NoArgs,
		Short: "Render what a hub sends on standard input; the hub starts this by itself",
		Run:   func(*cobra.Command, []string) { os.Exit(Serve(os.Stdin, os.Stdout)) },
	}
}

// Serve answers requests until the input ends, and returns the exit code of
// the process, which is its own to confine.
func Serve(in io.Reader, out io.Writer) int {
	confine()
	base, err := writable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFault
	}
	requests, answers := gob.NewDecoder(in), bufio.NewWriter(out)
	encoder := gob.NewEncoder(answers)
	for {
		var r request
		if err := requests.Decode(&r); errors.Is(err, io.EOF) {
			return exitOK
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "read a request:", err)
			return exitFault
		}
		if err := errors.Join(encoder.Encode(answer(r, base)), answers.Flush()); err != nil {
			fmt.Fprintln(os.Stderr, "answer:", err)
			return exitFault
		}
	}
}

// confine takes from the process what no render needs: the network, programs,
// the zone and the log, which could tell values.
func confine() {
	yield()
	os.Clearenv()
	time.Local = time.UTC
	http.DefaultTransport = &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		return nil, fmt.Errorf("dial %s: nothing is fetched while rendering", address)
	}}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	log.SetOutput(io.Discard)
	debug.SetMaxStack(64 << 20)
	over := make(chan os.Signal, 1)
	signal.Notify(over, syscall.SIGXCPU)
	go func() {
		<-over
		os.Exit(exitOverTime)
	}()
}

func answer(r request, base uint64) response {
	if err := limit(r.Limits, base); err != nil {
		return response{Fault: err.Error()}
	}
	files, closeIt, err := tree.Open(r.Dir)
	if err != nil {
		return response{Fault: err.Error()}
	}
	defer closeIt() //nolint:errcheck // it was only read
	out, err := render.Render(files, r.In)
	if err != nil {
		var unfit *class.Unfit
		return response{Err: clip(err.Error()), Unfit: errors.As(err, &unfit)}
	}
	if beside(out) > maxBeside {
		return response{Err: fmt.Sprintf("%s renders to more than %d MiB beside its manifests, in names, warnings and questions about the cluster: a template may make them up", r.In.Path, maxBeside>>20)}
	}
	return response{Out: out}
}

// What the hub has in its own memory, which has no limit, is bounded here.
const (
	// maxSaid is of an error, in bytes; a template may fail with any text.
	maxSaid = 8 << 10
	// maxBeside is of all in an output that is not manifests, in bytes.
	maxBeside = 4 << 20
)

func clip(s string) string {
	if len(s) <= maxSaid {
		return s
	}
	return strings.ToValidUTF8(s[:maxSaid], "") + "…"
}

func beside(out render.Output) int {
	n := len(out.Chart) + len(out.Version) + len(out.AppVersion)
	for _, f := range out.Files {
		n += len(f.Name)
	}
	for _, h := range out.Hooks {
		n += len(h.Kind) + len(h.Name) + len(h.Events) + len(h.Template)
	}
	for _, w := range out.Warnings {
		n += len(w)
	}
	for _, q := range out.Queries {
		n += len(q.What) + len(q.Arg) + len(q.Answer)
	}
	return n
}
