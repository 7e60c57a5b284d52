package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
)

// joinAll joins every cluster that has not joined, and waits until all are
// connected. What runs the agents is their clusters.
func (d *Demo) joinAll(ctx context.Context) error {
	joined, err := d.joined(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	for _, m := range members {
		group.Go(func() error {
			if !joined[m.name] {
				if err := d.install(ctx, m); err != nil {
					return fmt.Errorf("join %s: %w", m.name, err)
				}
			}
			return d.connect(ctx, m)
		})
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

// install does what a person would do, who types the line that it prints.
func (d *Demo) install(ctx context.Context, m member) error {
	d.say("$ atoll %s | kubectl apply -f -", line(m.join()))
	manifests, err := d.ask(ctx, nil, m.join()...)
	if err != nil {
		return err
	}
	_, err = d.inMember(ctx, m, bytes.NewReader(manifests), "apply", "-f", "-")
	return err
}

// inMember is kubectl in the cluster, as its own admin.
func (d *Demo) inMember(ctx context.Context, m member, in io.Reader, args ...string) ([]byte, error) {
	config := d.path("clusters", m.name, "kubeconfig")
	return d.ask(ctx, in, append([]string{"kubectl", "--kubeconfig", config, "--"}, args...)...)
}

// connect accepts the agent, which it does only once, and waits for its link.
func (d *Demo) connect(ctx context.Context, m member) error {
	for _, args := range [][]string{
		{"accept", m.name, "--timeout", "2m"},
		{"wait", "cluster/" + m.name, "--for=connected,ready", "--timeout", "2m"},
	} {
		if _, err := d.ask(ctx, nil, args...); err != nil {
			return fmt.Errorf("join %s: %w (its agent: %s)", m.name, err, d.agentSays(ctx, m))
		}
	}
	return nil
}

// agentSays is why an agent's pod does not run, or the last words of one that does.
func (d *Demo) agentSays(ctx context.Context, m member) string {
	why, err := d.inMember(ctx, m, nil, "-n", v1alpha1.SystemNamespace, "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].state.waiting.message}")
	if err == nil && len(why) == 0 {
		why, err = d.inMember(ctx, m, nil, "-n", v1alpha1.SystemNamespace, "logs", "deployment/"+join.AgentAccount, "--tail", "1")
	}
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(why))
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
