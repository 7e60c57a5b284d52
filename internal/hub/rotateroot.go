package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// rootPause is how late a running hub notices a rotation.
const rootPause = 2 * time.Second

// followRoot takes up what `atoll hub rotate-root` did, without a restart.
func (h *hub) followRoot(ctx context.Context) error {
	tick := time.NewTicker(rootPause)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		rotated, err := h.ca.Refresh()
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			h.Log.Error("the agents' root is left as it was", "err", err)
		case err == nil:
			said = ""
		}
		if rotated {
			current, next, _ := h.ca.Succession()
			h.Log.Info("the agents' root was rotated", "current", current, "next", next)
		}
	}
}

func rotateRootCommand() *cobra.Command {
	var dataDir, keysDir string
	cmd := &cobra.Command{
		Use:   "rotate-root",
		Short: "Let the next root sign agents, and announce another",
		Long: `Rotate the root of the agents' authority. Agents know the next root already: it
was announced, signed by the current one, when that became current. Now the next
one signs, another is announced as next, and certificates of the former root open
links for another 25 hours, in which every agent that is connected renews.

It writes to the keys of a hub, on its machine, while the hub runs or not; a hub
that runs takes it up within seconds. Where several hubs have copies of the keys,
copy authority.json to each at once. Agents that are away follow when they come
back, past as many as eight rotations; beyond that they join again.`,
		Example: `  atoll hub rotate-root --data-dir /var/lib/atoll
  atoll hub rotate-root --keys /etc/atoll/keys`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dataDir == "" && keysDir == "" {
				return errors.New("atoll hub rotate-root needs --data-dir DIR of the hub, or --keys DIR where its keys lie")
			}
			keys, err := rotateRoot(cmp.Or(keysDir, filepath.Join(dataDir, "pki")))
			if err != nil {
				return err
			}
			current, next, until := keys.ca.Succession()
			fmt.Fprintf(cmd.ErrOrStderr(), "%q signs agents now, and %q is announced to follow it\nagents with a certificate of the former root are let in until %s, and renew before; later they renew first\ncopy the keys again to where you keep a copy of them\n",
				current, next, until.UTC().Format(time.RFC3339))
			return nil
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "directory of the hub's state")
	cmd.Flags().StringVar(&keysDir, "keys", "", "directory of the hub's keys (default: pki in --data-dir)")
	return cmd
}

// rotateRoot waits for others that write to the keys, and makes none.
func rotateRoot(dir string) (heldKeys, error) {
	held, err := existingKeys(dir)
	if err != nil {
		return held, err
	}
	release, err := lockKeys(dir)
	if err != nil {
		return held, err
	}
	defer release()
	if _, err := held.ca.Refresh(); err != nil { // rotated since it was read
		return held, err
	}
	return held, held.ca.Rotate()
}
