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

	"atoll.dev/atoll/internal/alert/push"
	"atoll.dev/atoll/internal/blob/oci"
	"atoll.dev/atoll/internal/egress"
)

// Command is the verb `atoll hub`.
func Command() *cobra.Command {
	cmd := runCommand(&Options{})
	cmd.AddCommand(keysCommand(), rotateRootCommand(), backupCommand(), restoreCommand(), rebuildCommand())
	return cmd
}

// runCommand runs a hub in the foreground, as flags change o.
func runCommand(o *Options) *cobra.Command {
	var verbose bool
	var host hostFlags
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run the hub: the API, the agents' port and the controllers in one process",
		Long: `Run the hub in the foreground until interrupted.

Its state lies in --data-dir: the embedded store, the keys, uploaded content
and admin.kubeconfig, which gives the group atoll:admins every right here.

With --etcd-servers the store is an etcd that someone else runs. Hubs that
share one need the same --keys and --content: one leads, the others stand by.

With --kubeconfig or --in-cluster the store is an existing Kubernetes cluster,
which then serves atoll.dev and fleet.atoll.dev to whoever may use it there.
docs/MODES.md compares the modes.

With --content oci://HOST/REPOSITORY content lies in an OCI registry, under the
credentials that docker's config.json has for it, or those in the variables
ATOLL_CONTENT_USERNAME and ATOLL_CONTENT_PASSWORD. ?plainHTTP=true is for a
registry without TLS.`,
		Example: `  atoll hub --data-dir ./hub
  atoll hub --data-dir /var/lib/atoll --listen 0.0.0.0:7443 --agent-listen 0.0.0.0:7444 --public-address hub.example.com:7444
  atoll hub --data-dir /var/lib/atoll --keys /etc/atoll/keys --content /srv/atoll/content --etcd-servers https://etcd-1:2379,https://etcd-2:2379 --etcd-cafile ca.crt --etcd-certfile hub.crt --etcd-keyfile hub.key
  atoll hub --data-dir /var/lib/atoll --keys /etc/atoll/keys --content /srv/atoll/content --kubeconfig management.kubeconfig`,
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
			if err := errors.Join(host.choose(o), o.check(cmd.ErrOrStderr())); err != nil {
				return err
			}
			began := time.Now()
			return Run(ctx, *o, func(r Ready) {
				go spareMemory(ctx)
				fmt.Fprintf(cmd.ErrOrStderr(), "hub ready in %s: API https://%s, agents dial %s\n", time.Since(began).Round(100*time.Millisecond), r.API, r.Agents)
				if r.AdminKubeconfig != "" {
					fmt.Fprintf(cmd.ErrOrStderr(), "export KUBECONFIG=%s\n", r.AdminKubeconfig)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.DataDir, "data-dir", "", "directory of the hub's state (required)")
	f.StringVar(&o.Keys, "keys", "", "directory of the keys, which are never in the store; may be read-only once they are made (default: pki in --data-dir)")
	f.StringVar(&o.Content, "content", "", "uploaded content: a directory, on a shared volume when several hubs share a store, or oci://HOST/REPOSITORY (default: content in --data-dir)")
	f.StringSliceVar(&o.Etcd.Servers, "etcd-servers", nil, "https://HOST:PORT,… of an external etcd to store in")
	f.StringVar(&o.Etcd.CAFile, "etcd-cafile", "", "authority of the external etcd's certificates")
	f.StringVar(&o.Etcd.CertFile, "etcd-certfile", "", "certificate that the hub shows to the external etcd")
	f.StringVar(&o.Etcd.KeyFile, "etcd-keyfile", "", "key of --etcd-certfile")
	f.StringVar(&o.Etcd.Prefix, "etcd-prefix", etcdPrefix, "path in the external etcd below which this hub stores")
	host.add(f)
	o.SignIn.add(f)
	f.StringVar(&o.Listen, "listen", "127.0.0.1:7443", "host:port of the API")
	f.StringVar(&o.AgentListen, "agent-listen", "127.0.0.1:7444", "host:port that agents dial")
	f.StringSliceVar(&o.PublicAddresses, "public-address", nil, "host:port that agents are told to dial, if it is not --agent-listen; repeated, further names and addresses, which the certificates of both ports then carry")
	f.StringVar(&o.PeerAddress, "peer-address", "", "host:port at which other hubs of the same store reach this one's API (default: --listen, or an address of this machine's name when that is everywhere)")
	f.DurationVar(&o.Heartbeat, "heartbeat", 0, "period of heartbeats; default 10s")
	f.StringVar(&o.HookListen, "hook-listen", "", "host:port at which Git hosts tell of pushes, without TLS: for what ends it in front (default: none)")
	f.StringSliceVar(&o.SourceAllow, "source-allow", nil, "addresses and networks, such as 127.0.0.0/8, that projects may name as sources although they belong to this machine or to its cloud's own services")
	f.StringSliceVar(&o.Alertmanagers, "alertmanager", nil, "http://HOST:9093 of an Alertmanager that is told what alerts; repeated, of several, such as all replicas of one")
	f.StringVar(&o.AuditDir, "audit-dir", "", "directory of this hub's audit log, which it shares with no other hub (default: audit in --data-dir)")
	f.StringVar(&o.AuditFailure, "audit-failure", auditRefuse, "what becomes of acts that the audit log cannot take up, as on a full disk: refuse, or allow, which then are told as a gap")
	f.StringVar(&o.Profiles, "pprof", "", "127.0.0.1:PORT at which go tool pprof may ask; nobody is authenticated there")
	f.BoolVarP(&verbose, "verbose", "v", false, "log what the embedded Kubernetes says")
	return cmd
}

// etcdPrefix keeps a shared etcd's other tenants apart by default.
const etcdPrefix = "/atoll"

func keysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keys DIR",
		Short: "Make a hub's keys in a directory, to be mounted for --keys",
		Long: `Make the keys that a hub needs and that are never in its store, where DIR lacks
them: the authorities of its API and of its agents, the key that encrypts
Secrets, the one that names their values, the one that signs service accounts
and the one that signs the audit log. What is there stays. Keep a copy: without
them the store is of no use.`,
		Example: `  atoll hub keys ./keys`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := openKeys(args[0])
			if err == nil {
				_, err = auditKey(args[0])
			}
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "the keys are in %s\n", args[0])
			}
			return err
		},
	}
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
	for flag, dir := range map[string]*string{"--data-dir": &o.DataDir, "--keys": &o.Keys, "--content": &o.Content, "--audit-dir": &o.AuditDir} {
		if *dir == "" {
			continue
		}
		if flag == "--content" && strings.HasPrefix(*dir, oci.Scheme) {
			if _, err := oci.Parse(*dir); err != nil {
				return fmt.Errorf("--content: %w", err)
			}
			continue
		}
		if strings.Contains(*dir, "://") {
			return fmt.Errorf("%s %s is not a directory", flag, *dir)
		}
		absolute, err := filepath.Abs(*dir)
		if err != nil {
			return fmt.Errorf("%s %s: %w", flag, *dir, err)
		}
		*dir = absolute
	}
	if e := o.Etcd; len(e.Servers) == 0 && (e.CAFile+e.CertFile+e.KeyFile != "" || e.Prefix != etcdPrefix) {
		return errors.New("--etcd-cafile, --etcd-certfile, --etcd-keyfile and --etcd-prefix are for an external etcd: add --etcd-servers")
	}
	if err := o.checkAddresses(words); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(o.HookListen); o.HookListen != "" && err != nil {
		return fmt.Errorf("--hook-listen %q is not host:port", o.HookListen)
	}
	if o.AuditFailure != auditRefuse && o.AuditFailure != auditAllow {
		return fmt.Errorf("--audit-failure %q is neither refuse nor allow", o.AuditFailure)
	}
	if _, err := egress.ParseAllow(o.SourceAllow); err != nil {
		return fmt.Errorf("--source-allow: %w", err)
	}
	if err := o.SignIn.check(o.Host != nil); err != nil {
		return err
	}
	for _, address := range o.Alertmanagers {
		if _, err := push.ParseURL(address); err != nil {
			return fmt.Errorf("--alertmanager: %w", err)
		}
	}
	if o.Profiles != "" {
		if err := loopbackOnly(o.Profiles); err != nil {
			return err
		}
	}
	if o.Heartbeat < 0 || o.Heartbeat > 0 && o.Heartbeat < 100*time.Millisecond {
		return fmt.Errorf("--heartbeat %s is too short: at least 100ms", o.Heartbeat)
	}
	return nil
}
