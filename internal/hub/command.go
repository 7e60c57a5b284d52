package hub

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Command is the verb `atoll hub`.
func Command() *cobra.Command {
	var o Options
	var verbose bool
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run the hub: the API, the agents' port and the controllers in one process",
		Long: `Run the hub in the foreground until interrupted.

Its state lies in --data-dir: the embedded store, the keys, uploaded content
and admin.kubeconfig, which gives the group atoll:admins every right here.`,
		Example: `  atoll hub --data-dir ./hub
  atoll hub --data-dir /var/lib/atoll --listen 0.0.0.0:7443 --agent-listen 0.0.0.0:7444 --public-address hub.example.com:7444`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%s takes no arguments; %q is too many", cmd.CommandPath(), strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level(verbose)}))
			if verbose {
				o.Verbose = cmd.ErrOrStderr()
			}
			if err := o.check(cmd.ErrOrStderr()); err != nil {
				return err
			}
			began := time.Now()
			return Run(ctx, o, func(r Ready) {
				fmt.Fprintf(cmd.ErrOrStderr(), "hub ready in %s: API https://%s, agents dial %s\n", time.Since(began).Round(100*time.Millisecond), r.API, r.Agents)
				fmt.Fprintf(cmd.ErrOrStderr(), "export KUBECONFIG=%s\n", r.AdminKubeconfig)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.DataDir, "data-dir", "", "directory of the hub's state (required)")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:7443", "host:port of the API")
	f.StringVar(&o.AgentListen, "agent-listen", "127.0.0.1:7444", "host:port that agents dial")
	f.StringVar(&o.PublicAddress, "public-address", "", "host:port under which agents reach --agent-listen, if it differs")
	f.DurationVar(&o.Heartbeat, "heartbeat", 0, "period of heartbeats; default 10s")
	f.BoolVarP(&verbose, "verbose", "v", false, "log what the embedded Kubernetes says")
	return cmd
}

func level(verbose bool) slog.Level {
	if verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (o *Options) check(words io.Writer) error {
	if o.DataDir == "" {
		return errors.New("atoll hub needs --data-dir DIR: where its state lies")
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return fmt.Errorf("--data-dir %s: %w", o.DataDir, err)
	}
	o.DataDir = dir
	for flag, address := range map[string]string{"--listen": o.Listen, "--agent-listen": o.AgentListen, "--public-address": o.PublicAddress} {
		if address == "" && flag == "--public-address" {
			continue
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%s %q is not host:port", flag, address)
		}
	}
	if o.Heartbeat < 0 || o.Heartbeat > 0 && o.Heartbeat < 100*time.Millisecond {
		return fmt.Errorf("--heartbeat %s is too short: at least 100ms", o.Heartbeat)
	}
	public := o.PublicAddress
	if public == "" {
		public = o.AgentListen
	}
	if host, _, _ := net.SplitHostPort(public); net.ParseIP(host).IsLoopback() || host == "localhost" {
		fmt.Fprintf(words, "agents are told to dial %s, which only this machine reaches; --public-address names another\n", public)
	}
	return nil
}
