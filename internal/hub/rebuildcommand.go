package hub

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
)

func rebuildCommand() *cobra.Command {
	o := Options{Rebuild: true}
	cmd := runCommand(&o)
	cmd.Use, cmd.Short = "rebuild", "Run a hub that lost its store, and learn the clusters from their agents"
	cmd.Long = `Run a hub in the foreground whose store is lost, and of which there is no backup.
It needs the keys that the hub had, and the address that its agents dial.

Clusters that it does not know are taken up when their agents come back: each
shows the certificate that it had from these keys, though it may have expired.
They are Unconfirmed: none is served, and each goes on with what it has. Which of
them had been removed nobody knows any more, so remove those again, and then
confirm the others: atoll accept NAME, or atoll accept --all. What they run is
then shown, and held (HubOlderThanAgent), until it is asked for again, by atoll
recover --write or by deploying it, and they are let follow: atoll accept NAME
--incarnation.

When all clusters are there, start the hub without rebuild: it takes up no more.`
	cmd.Example = `  atoll hub rebuild --data-dir /var/lib/atoll-new --keys /etc/atoll/keys
  atoll status`
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.DataDir == "" {
			return errors.New("atoll hub rebuild needs --data-dir DIR: where its state will lie")
		}
		if _, err := existingKeys(cmp.Or(o.Keys, filepath.Join(o.DataDir, "pki"))); err != nil {
			return fmt.Errorf("%w; without them no agent believes this hub: then start an empty one and join each cluster again", err)
		}
		return run(cmd, args)
	}
	return cmd
}
