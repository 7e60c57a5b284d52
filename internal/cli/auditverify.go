package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/audit"
)

func newAuditVerify(c *console) *cobra.Command {
	var dir, key, output string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Whether the audit log is whole, and as the hub wrote it",
		Long: `Read the whole audit log and hold it against its hashes and its signed head: a record that
was changed, removed, moved, inserted or cut off is found, and so is a file or a head that was
replaced. The exit code is 1 when something is found.

Without flags the hub verifies its own log. With --dir and --key a copy is verified without
believing a hub: copy head.json first, then the other files; the key is audit.pub among the
hub's keys, and should come from where you keep a copy of those.`,
		Example: `  atoll audit verify
  atoll audit verify --dir /mnt/copy/audit --key audit.pub`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "text", "json", "yaml"); err != nil {
				return err
			}
			verdict, err := c.verdict(cmd.Context(), dir, key)
			if err != nil {
				return err
			}
			return c.tell(verdict, output)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory of a copy of the log")
	cmd.Flags().StringVar(&key, "key", "", "file of the public key, for --dir")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *console) verdict(ctx context.Context, dir, key string) (*audit.Verdict, error) {
	if (dir == "") != (key == "") {
		return nil, wrong("--dir and --key go together: a copy is believed by a key that does not lie with it")
	}
	if dir == "" {
		h, err := c.connect()
		if err != nil {
			return nil, err
		}
		return h.fleet.VerifyAudit(ctx)
	}
	data, err := os.ReadFile(key)
	if err != nil {
		return nil, wrong("--key: %v", cause(err))
	}
	public, err := audit.ParsePublicKey(data)
	if err != nil {
		return nil, wrong("--key %s: %v", key, err)
	}
	verdict, err := audit.Verify(ctx, dir, public)
	return &verdict, err
}

func (c *console) tell(v *audit.Verdict, output string) error {
	if output != "text" {
		if err := encode(c.Out, output, v); err != nil {
			return err
		}
	} else {
		c.print("%s", summary(v))
		for _, f := range v.Findings {
			c.print("FOUND  %s", f)
		}
		for _, n := range v.Notes {
			c.print("note   %s", n)
		}
	}
	if len(v.Findings) > 0 {
		return no()
	}
	return nil
}

func summary(v *audit.Verdict) string {
	read := fmt.Sprintf("%s, %d to %d, in %s", count(v.Records, "record"), v.First, v.Last, count(v.Files, "file"))
	if len(v.Findings) > 0 {
		return "The audit log is NOT as the hub wrote it: " + read + "."
	}
	return fmt.Sprintf("The audit log is whole: %s; its head was signed at %s.", read, v.Head.Time.UTC().Format(time.RFC3339))
}
