package cli

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/audit"
)

// auditFlags choose records.
type auditFlags struct {
	since              time.Duration
	user, verb, object string
	dir, output        string
}

func newAudit(c *console) *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Who did what, in whose name, from where and with what result",
		Long: `Show the hub's audit log, oldest first: every write of people and programs, what was
uploaded, tokens to join, reads of Secrets, and through the tunnel every write, exec and log.
Values of Secrets are not in it. Of several hubs on one store each has a log of its own; this
one is the leader's. --dir reads a copy of a log without asking a hub.

-o json prints a record a line, with the changes of fields; -o csv is for a table of others.`,
		Example: `  atoll audit --since 1h
  atoll audit --user ada --object app/shop -p demo
  atoll audit --object cluster/eu-1 --since 720h -o csv
  atoll audit verify`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.audit(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.since, "since", 24*time.Hour, "how far back")
	flags.StringVar(&f.user, "user", "", "who did it, or in whose name it was done")
	flags.StringVar(&f.verb, "verb", "", "such as create, update, delete, get, sync")
	flags.StringVar(&f.object, "object", "", "KIND or KIND/NAME, such as app/shop, secrets/door, or cluster/eu-1 with what was done inside")
	flags.StringVar(&f.dir, "dir", "", "directory of a log, or of a copy, to read instead of asking the hub")
	flags.StringVarP(&f.output, "output", "o", "table", "table, json or csv")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "csv"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(newAuditVerify(c))
	return cmd
}

// query is what the flags ask for.
func (c *console) query(f auditFlags) (audit.Query, error) {
	q := audit.Query{Since: c.now().Add(-f.since), User: f.user, Verb: f.verb, Namespace: c.project}
	if f.since <= 0 {
		return q, wrong("--since is a time that has passed, such as 24h")
	}
	word, name, _ := strings.Cut(f.object, "/")
	q.Resource, q.Name = strings.ToLower(word), name
	if k, err := findKind(word); err == nil {
		q.Resource = k.resource
	}
	return q, oneOf("output", f.output, "table", "json", "csv")
}

func (c *console) audit(ctx context.Context, f auditFlags) error {
	q, err := c.query(f)
	if err != nil {
		return err
	}
	next := func(q audit.Query) (*audit.Page, error) {
		page, err := audit.Read(ctx, f.dir, q)
		return &page, err
	}
	if f.dir == "" {
		h, err := c.connect()
		if err != nil {
			return err
		}
		next = func(q audit.Query) (*audit.Page, error) { return h.fleet.Audit(ctx, values(q)) }
	}
	write, found := c.auditWriter(f.output), 0
	for {
		page, err := next(q)
		if err != nil {
			return err
		}
		if err := write(page.Records); err != nil {
			return err
		}
		found += len(page.Records)
		if page.Next == 0 {
			break
		}
		q.From = page.Next
	}
	if found == 0 {
		c.say("Nothing of that kind was done in %s.", f.since)
	}
	return nil
}

func values(q audit.Query) url.Values {
	v := url.Values{"since": {q.Since.UTC().Format(time.RFC3339Nano)}}
	for name, value := range map[string]string{"user": q.User, "verb": q.Verb, "namespace": q.Namespace, "resource": q.Resource, "name": q.Name} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.From > 0 {
		v.Set("continue", strconv.FormatUint(q.From, 10))
	}
	return v
}

// auditWriter writes page after page: a log may be longer than memory.
func (c *console) auditWriter(format string) func([]audit.Record) error {
	switch format {
	case "json":
		return func(records []audit.Record) error {
			encoder := json.NewEncoder(c.Out)
			for i := range records {
				if err := encoder.Encode(&records[i]); err != nil {
					return err
				}
			}
			return nil
		}
	case "csv":
		w, begun := csv.NewWriter(c.Out), false
		return func(records []audit.Record) error {
			if !begun {
				begun = true
				if err := w.Write([]string{"seq", "time", "user", "impersonator", "source", "verb", "cluster", "project", "object", "stage", "result", "code", "details", "request"}); err != nil {
					return err
				}
			}
			for i := range records {
				r := &records[i]
				if err := w.Write(inert(strconv.FormatUint(r.Sequence, 10), r.Time.Format(time.RFC3339Nano), r.User, r.Impersonator, r.Source,
					r.Verb, r.Cluster, r.Namespace, r.What(), r.Stage, r.Result, code(r), details(r), r.Request)); err != nil {
					return err
				}
			}
			w.Flush()
			return w.Error()
		}
	}
	return func(records []audit.Record) error { return writeAudit(c.Out, records, c.view()) }
}

// inert keeps spreadsheets from taking what a caller sent for a formula.
func inert(cells ...string) []string {
	for i, cell := range cells {
		if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
			cells[i] = "'" + cell
		}
	}
	return cells
}

func code(r *audit.Record) string {
	if r.Code == 0 {
		return ""
	}
	return strconv.Itoa(r.Code)
}

func writeAudit(w io.Writer, records []audit.Record, v view) error {
	if len(records) == 0 {
		return nil
	}
	g := grid{head: []string{"TIME", "USER", "VERB", "WHERE", "OBJECT", "RESULT", "DETAILS"}}
	for i := range records {
		r := &records[i]
		who := fallback(r.User, "hub")
		if r.Impersonator != "" {
			who += " (by " + r.Impersonator + ")"
		}
		where := r.Namespace
		if r.Cluster != "" {
			where = strings.TrimSuffix("cluster/"+r.Cluster+" "+r.Namespace, " ")
		}
		g.add(text(r.Time.UTC().Format("01-02 15:04:05")), text(who), text(r.Verb), text(where), text(r.What()), state(fallback(r.Result, r.Stage)), text(details(r)))
	}
	return g.write(w, v.ink)
}

// details are what changed, why, and what went wrong, in one line.
func details(r *audit.Record) string {
	var parts []string
	if r.Stage == audit.End {
		parts = append(parts, "after "+(time.Duration(r.Milliseconds)*time.Millisecond).String())
	}
	if r.Message != "" {
		parts = append(parts, r.Message)
	}
	for _, change := range r.Changes {
		parts = append(parts, change.Text())
	}
	if r.MoreChanges > 0 {
		parts = append(parts, fmt.Sprintf("and %s", count(r.MoreChanges, "more change")))
	}
	if r.Reason != "" {
		parts = append(parts, "because: "+r.Reason)
	}
	return strings.Join(parts, "; ")
}
