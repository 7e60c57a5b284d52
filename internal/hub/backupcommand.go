package hub

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"atoll.dev/atoll/internal/blob/oci"
)

func backupCommand() *cobra.Command {
	var b Backup
	var passphrase string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Back up a hub into one file, while it runs or not",
		Long: `Write a hub's store, as it is at one moment, and the content that it uses into
one file. It runs on the hub's machine as the hub's user, beside the hub.

The keys are not in the file, unless --passphrase-file is given: then they are
encrypted with what that file holds (scrypt, XChaCha20-Poly1305). Without the
keys a backup is of no use. Secrets are encrypted in the store, and so here.

A hub that stores in an external etcd or in Kubernetes is backed up with their
own means.`,
		Example: `  atoll hub backup hub-monday.atoll --data-dir /var/lib/atoll
  atoll hub backup hub-monday.atoll --data-dir /var/lib/atoll --passphrase-file /root/passphrase
  atoll hub backup hub.atoll --data-dir /var/lib/atoll --keys /etc/atoll/keys --content /srv/atoll/content --force`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.File = args[0]
			if err := b.complete(passphrase); err != nil {
				return err
			}
			m, err := b.Make(cmd.Context())
			if err != nil {
				return err
			}
			words := cmd.ErrOrStderr()
			fmt.Fprintf(words, "%s holds %d records, %d clusters and %d contents of incarnation %s\n", b.File, m.Records, m.Clusters, m.Contents, m.Incarnation)
			for _, c := range m.Missing {
				fmt.Fprintf(words, "content %s is not in it: the hub does not have it either; deploy it again\n", c)
			}
			if m.ContentElsewhere != "" {
				fmt.Fprintf(words, "content is not in it: it lies in %s, which is backed up on its own\n", m.ContentElsewhere)
			}
			keys := "the keys are in it, encrypted: it is of no use without the passphrase"
			if len(b.Passphrase) == 0 {
				keys = "the keys are not in it: keep a copy of them apart from it, or encrypt them into it with --passphrase-file"
			}
			fmt.Fprintln(words, keys)
			return nil
		},
	}
	f := cmd.Flags()
	b.flags(f, &passphrase)
	f.Lookup("data-dir").Usage = "directory of the hub's state (required)"
	f.Lookup("keys").Usage = "directory of the hub's keys (default: pki in --data-dir)"
	f.Lookup("passphrase-file").Usage = "file with a passphrase: encrypt the keys with it and put them into the backup"
	f.BoolVar(&b.Force, "force", false, "replace FILE")
	return cmd
}

func restoreCommand() *cobra.Command {
	var b Backup
	var passphrase string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a hub's data directory from a backup",
		Long: `Make a new data directory from a backup. Nothing is written before the whole
file was read and found complete, unchanged and made by the hub with these keys.

End the old hub first, for good. The one restored begins a new history: no
cluster is served before a person confirms it (atoll accept NAME, or --all), for
the backup cannot know which were removed since. Remove those first. What a
confirmed cluster has newer or more of than the backup is held, not deleted,
until it is let follow: atoll accept NAME --incarnation.`,
		Example: `  atoll hub restore hub-monday.atoll --data-dir /var/lib/atoll-new --keys /etc/atoll/keys
  atoll hub restore hub-monday.atoll --data-dir /var/lib/atoll-new --passphrase-file /root/passphrase`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.File = args[0]
			if err := b.complete(passphrase); err != nil {
				return err
			}
			m, err := b.Restore(cmd.Context())
			if err != nil {
				return err
			}
			words := cmd.ErrOrStderr()
			fmt.Fprintf(words, "%s is as the hub was at %s: %d records, %d clusters, %d contents\n", b.DataDir, m.Made.Format(time.RFC3339), m.Records, m.Clusters, m.Contents)
			for _, c := range m.Missing {
				fmt.Fprintf(words, "content %s was missing then already; deploy it again\n", c)
			}
			fmt.Fprintf(words, "start it as before with: %s\nthen see which clusters wait to be confirmed: atoll status\n", b.startCommand(m.ContentElsewhere))
			return nil
		},
	}
	f := cmd.Flags()
	b.flags(f, &passphrase)
	f.Lookup("data-dir").Usage = "directory to make, or an empty one (required)"
	f.Lookup("keys").Usage = "directory with a copy of the keys that the hub had; needed unless they are in the backup"
	f.Lookup("passphrase-file").Usage = "file with the passphrase of the keys in the backup"
	return cmd
}

// flags are those of both; the usage of some differs.
func (b *Backup) flags(f *pflag.FlagSet, passphrase *string) {
	f.StringVar(&b.DataDir, "data-dir", "", "")
	f.StringVar(&b.Keys, "keys", "", "")
	f.StringVar(&b.Content, "content", "", "content as the hub has it: a directory, or oci://HOST/REPOSITORY, which is not part of a backup (default: content in --data-dir)")
	f.StringVar(passphrase, "passphrase-file", "", "")
}

// complete checks the flags and reads the passphrase.
func (b *Backup) complete(passphrase string) error {
	if b.DataDir == "" {
		return errors.New("--data-dir DIR is needed: where the hub's state lies")
	}
	for _, dir := range []*string{&b.DataDir, &b.Keys, &b.Content} {
		if *dir == "" || strings.HasPrefix(*dir, oci.Scheme) {
			continue
		}
		absolute, err := filepath.Abs(*dir)
		if err != nil {
			return fmt.Errorf("find %s: %w", *dir, err)
		}
		*dir = absolute
	}
	if passphrase == "" {
		return nil
	}
	data, err := os.ReadFile(passphrase)
	if err != nil {
		return fmt.Errorf("read the passphrase: %w", err)
	}
	if b.Passphrase = bytes.TrimRight(data, "\r\n"); len(b.Passphrase) == 0 {
		return fmt.Errorf("read the passphrase: %s is empty", passphrase)
	}
	return nil
}

func (b *Backup) startCommand(elsewhere string) string {
	command := "atoll hub --data-dir " + b.DataDir
	if b.Keys != "" {
		command += " --keys " + b.Keys
	}
	if elsewhere != "" {
		return command + " --content " + elsewhere
	}
	if b.Content != "" {
		command += " --content " + b.Content
	}
	return command
}
