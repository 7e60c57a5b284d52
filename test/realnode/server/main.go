// Server is what the pods of this test run: it is ready, lives, fails, eats
// memory and ends as it is asked, and says so.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(command(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: ":8080", Handler: handler(), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() {
		fmt.Println("asked to end by SIGTERM")
		_ = server.Shutdown(context.Background()) // there is nobody left to tell
	})
	fmt.Println("serving on", server.Addr)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
}

// command is what exec runs in a container: "exit CODE". What it is told else
// it does not know.
func command(args []string) int {
	if args[0] != "exit" || len(args) != 2 {
		fmt.Fprintln(os.Stderr, "no such command:", args)
		return 64
	}
	host, _ := os.Hostname() // empty is an answer too
	fmt.Println(host)
	code, _ := strconv.Atoi(args[1])
	fmt.Fprintln(os.Stderr, "ending with", code)
	return code
}

func handler() http.Handler {
	var broken atomic.Bool
	var eaten [][]byte
	mux := http.NewServeMux()
	mux.HandleFunc("/live", func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			http.Error(w, "broken", http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/break", func(http.ResponseWriter, *http.Request) {
		fmt.Println("broken on request")
		broken.Store(true)
	})
	mux.HandleFunc("/eat", func(http.ResponseWriter, *http.Request) {
		for {
			piece := make([]byte, 1<<20)
			for i := range piece {
				piece[i] = 1
			}
			eaten = append(eaten, piece)
		}
	})
	// fetch answers what another server answers, from inside the pod.
	mux.HandleFunc("/fetch", func(w http.ResponseWriter, r *http.Request) {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
		response, err := client.Get(r.URL.Query().Get("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body) // the asker sees half an answer
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		host, _ := os.Hostname() // empty is an answer too
		fmt.Fprint(w, host)
	})
	return mux
}
