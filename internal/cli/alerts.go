package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/fleet"
)

func newAlerts(c *console) *cobra.Command {
	output, severity := "", ""
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "What the hub alerts of, worst first; exit code 1 when there is any",
		Long: `Show what the hub alerts of: clusters that are lost, certificates that were not
renewed, applications that do not work, rollouts that were halted, and what waits for
a person for long. What one application suffers on many clusters is one alert.

The exit code is 1 when something alerts that is at least as bad as --severity. A hub
that is started with --alertmanager tells the same to Alertmanagers.`,
		Example: `  atoll alerts
  atoll alerts --severity critical || mail -s 'the fleet needs somebody' on-call@example.com
  atoll alerts --severity info -o json`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.alerts(cmd.Context(), alert.Severity(severity), output)
		},
	}
	addOutput(cmd, &output)
	cmd.Flags().StringVar(&severity, "severity", string(alert.Warning), "leave out what is less: critical, warning or info")
	_ = cmd.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions([]string{"critical", "warning", "info"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *console) alerts(ctx context.Context, least alert.Severity, output string) error {
	if err := oneOf("severity", string(least), string(alert.Critical), string(alert.Warning), string(alert.Info)); err != nil {
		return err
	}
	if err := checkOutput(output); err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	answer, err := h.fleet.Alerts(ctx)
	if err != nil {
		return notAHub(h, err)
	}
	all := len(answer.Alerts)
	answer.Alerts = slices.DeleteFunc(answer.Alerts, func(a alert.Alert) bool { return !a.Severity.AtLeast(least) })
	if output != "text" {
		err = encode(c.Out, output, answer)
	} else {
		v := c.view()
		v.now = answer.At
		err = writeAlerts(c.Out, answer.Alerts, v)
	}
	switch {
	case err != nil:
		return err
	case len(answer.Alerts) > 0:
		return no()
	case all > 0:
		c.say("Nothing alerts that is %s or worse; --severity info lists %s.", least, count(all, "alert"))
	default:
		c.say("Nothing alerts.")
	}
	return nil
}

// writeAlerts draws what alerts as the overview draws what needs somebody.
func writeAlerts(w io.Writer, all []alert.Alert, v view) error {
	b := &strings.Builder{}
	for _, a := range all {
		head := v.ink.paint(severityPaint(a.Severity), string(a.Severity)) + "   " + v.ink.paint(bold, a.Name) + "   " + a.Subject()
		if !a.Since.IsZero() {
			head += ", since " + age(v.now, a.Since)
		}
		v.entry(b, head, a.Summary, a.Do)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// alertSentence counts by severity, worst first.
func alertSentence(t fleet.AlertTotals) string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{t.Critical, "critical"}, {t.Warning, "warning"}, {t.Info, "info"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return strings.Join(parts, ", ")
}

func severityPaint(s alert.Severity) paint {
	switch s {
	case alert.Critical:
		return red
	case alert.Warning:
		return yellow
	}
	return dim
}
