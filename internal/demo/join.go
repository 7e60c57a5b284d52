package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/sandbox"
)

// joinAll joins every cluster that has not joined, starts every agent that does
// not run, and waits until all are connected.
func (d *Demo) joinAll(ctx context.Context, r *record) error {
	joined, err := d.joined(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := d.startAgent(ctx, m, joined[m.name], r); err != nil {
			return fmt.Errorf("join %s: %w", m.name, err)
		}
	}
	var group errgroup.Group
	for _, m := range members {
		group.Go(func() error { return d.connect(ctx, m) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	d.say("%d agents connected", len(members))
	return nil
}

// joined are the clusters whose agents have shown themselves.
func (d *Demo) joined(ctx context.Context) (map[string]bool, error) {
	data, err := d.ask(ctx, nil, "get", "clusters", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct{ Identity *struct{} }
		}
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read the list of clusters: %w", err)
	}
	out := map[string]bool{}
	for _, c := range list.Items {
		out[c.Metadata.Name] = c.Status.Identity != nil
	}
	return out, nil
}

// startAgent installs what `atoll join` prints, but for the Deployment: a
// simulated node would only claim to run it. The agent is a process here
// instead, under the ServiceAccount and the rights of those manifests.
func (d *Demo) startAgent(ctx context.Context, m member, joined bool, r *record) error {
	if r.Agent[m.name].Alive() {
		return nil
	}
	dir := d.path("agents", m.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cluster, err := d.fleet().Cluster(m.name)
	if err != nil {
		return err
	}
	if !joined {
		d.say("$ atoll %s", line(m.join()))
		manifests, err := d.ask(ctx, nil, m.join()...)
		if err != nil {
			return err
		}
		if err := install(ctx, cluster, manifests, dir); err != nil {
			return err
		}
	}
	if err := writeAgentKubeconfig(ctx, cluster, dir); err != nil {
		return err
	}
	process, err := sandbox.StartDetached(d.path("logs", "agent-"+m.name+".log"), d.program("atoll-agent"),
		"run", "--kubeconfig", kubeconfigIn(dir), "--bootstrap", bootstrapIn(dir), "--proxy", cluster.State().ProxyURL())
	if err != nil {
		return err
	}
	r.Agent[m.name] = process
	return d.save(*r)
}

// connect accepts the agent, which it does only once, and waits for its link.
func (d *Demo) connect(ctx context.Context, m member) error {
	for _, args := range [][]string{
		{"accept", m.name, "--timeout", "2m"},
		{"wait", "cluster/" + m.name, "--for=connected,ready", "--timeout", "2m"},
	} {
		if _, err := d.ask(ctx, nil, args...); err != nil {
			return fmt.Errorf("join %s: %w (its agent says: %s)", m.name, err, lastLine(d.path("logs", "agent-"+m.name+".log")))
		}
	}
	return nil
}

// line is the command as it would be typed.
func line(args []string) string {
	var b bytes.Buffer
	for i, arg := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if bytes.ContainsAny([]byte(arg), " *") {
			arg = "'" + arg + "'"
		}
		b.WriteString(arg)
	}
	return b.String()
}
