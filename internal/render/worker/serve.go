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
		return response{Err: err.Error(), Unfit: errors.As(err, &unfit)}
	}
	return response{Out: out}
}
