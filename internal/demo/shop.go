package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// deliver makes the project and puts the shop on every production cluster.
func (d *Demo) deliver(ctx context.Context) error {
	if err := d.run(ctx, "apply", "-f", filepath.Join(d.Shop, "project.yaml")); err != nil {
		return err
	}
	return d.run(ctx, "deploy", "shop", "-f", filepath.Join(d.Shop, "deploy"),
		"--project", project, "--to", "stage=production", "--late-binding", "--wait", "--timeout", "5m")
}

// show prints the status and what to try.
func (d *Demo) show(ctx context.Context) error {
	d.say("the shop runs on every production cluster\n\n$ atoll status")
	status, err := d.ask(ctx, nil, "status")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.Out, "%s\n%s", status, d.tries())
	return err
}

// tries are commands that work as they stand, from the folder where `up` ran.
func (d *Demo) tries() string {
	member := filepath.Join(d.Dir, "clusters", "us-east-1", "kubeconfig")
	where := ""
	if d.Dir != DefaultDir {
		where = " --dir " + d.Dir
	}
	return strings.NewReplacer("ENV", d.environment(), "MEMBER", member, " --dir DIR", where, "DIR", d.Dir).Replace(`Try (first: . ENV):

  1. What runs in one cluster, and the whole chain from source to health
       atoll tree app/shop -C us-east-1
       atoll explain app/shop

  2. Ask the shop in a cluster; the pod that answers says where it is
       curl http://$(atoll kubectl --kubeconfig MEMBER -- -n shop get service web -o jsonpath='{.status.loadBalancer.ingress[0].ip}'):8080/
       atoll kubectl --kubeconfig MEMBER -- -n shop top pods

  3. Delete something in a member, as its own admin; its agent puts it back
       atoll kubectl --kubeconfig MEMBER -- -n shop delete deployment web
       atoll kubectl --kubeconfig MEMBER -- -n shop get deployment web
       atoll events app/shop -C us-east-1 | grep Drift

  4. The same with the hub dead; then bring it back: nothing restarts
       atoll-sandbox demo kill hub --dir DIR
       atoll kubectl --kubeconfig MEMBER -- -n shop scale deployment cart --replicas 0
       atoll kubectl --kubeconfig MEMBER -- -n shop get deployment cart
       make demo

  5. Lose a whole cluster: its age, what it affects, and no false health
       atoll-sandbox demo kill cluster/southeastasia --dir DIR
       atoll status

  6. Deliver something that crashes, and ask why
       atoll kubectl -- create deployment ads --image shop/ads:broken --dry-run=client -o yaml > DIR/broken.yaml
       atoll deploy oops -f DIR/broken.yaml --to stage=staging --member-namespace shop-oops --wait --timeout 20s
       atoll explain app/oops

make demo-down removes everything.
`)
}

// environment is the file to source, as it is typed.
func (d *Demo) environment() string { return filepath.Join(d.Dir, "env") }

func (d *Demo) writeEnvironment() error {
	bin, err := filepath.Abs(d.Bin)
	if err != nil {
		return fmt.Errorf("find the programs: %w", err)
	}
	text := fmt.Sprintf("export PATH=%q:\"$PATH\" ATOLL_KUBECONFIG=%q ATOLL_PROJECT=%s\n", bin, d.kubeconfig(), project)
	if err := os.WriteFile(d.path("env"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the demo's environment: %w", err)
	}
	return nil
}
