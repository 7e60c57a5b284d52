package cli

import (
	"context"
	"io"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/certificates"
)

func newCertificates(c *console) *cobra.Command {
	output, expiring := "", ""
	cmd := &cobra.Command{
		Use:   "certificates",
		Short: "Certificates of the hub and its agents: who issued them, when they end, who renews them",
		Long: `List the certificates that the fleet stands on, what ends first first: the hub's
authorities, those of its two ports, and that of each agent as the hub signed it last.
An agent that is away renews its certificate when it comes back, however long that has ended.

With --expiring the exit code is 1 when one ends within that time.`,
		Example: `  atoll certificates
  atoll certificates --expiring 30d
  atoll certificates -o json`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.certificates(cmd.Context(), expiring, output)
		},
	}
	addOutput(cmd, &output)
	cmd.Flags().StringVar(&expiring, "expiring", "", "only what ends within this time, such as 12h or 30d")
	return cmd
}

func (c *console) certificates(ctx context.Context, expiring, output string) error {
	within := time.Duration(0)
	if expiring != "" {
		var err error
		if within, err = days(expiring); err != nil || within <= 0 {
			return wrong("--expiring %q is no time to come, such as 12h or 30d", expiring)
		}
	}
	if err := checkOutput(output); err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	answer, err := h.fleet.Certificates(ctx)
	if err != nil {
		return notAHub(h, err)
	}
	answer.Certificates = certificates.Expiring(answer.Certificates, within, answer.At)
	found := len(answer.Certificates)
	switch {
	case output != "text":
		err = encode(c.Out, output, answer)
	case found > 0:
		v := c.view()
		v.now = answer.At
		err = writeCertificates(c.Out, answer.Certificates, v)
	default:
		c.say("No certificate ends within %s.", expiring)
	}
	if err == nil && within > 0 && found > 0 {
		return no()
	}
	return err
}

var inDays = regexp.MustCompile(`^([0-9]{1,5})d$`)

// days reads a duration that may be in days, "30d".
func days(text string) (time.Duration, error) {
	if m := inDays.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

func writeCertificates(w io.Writer, all []certificates.Certificate, v view) error {
	g := grid{head: []string{"USE", "NAME", "ISSUER", "OWNER", "ENDS", "IN", "RENEWED BY"}, width: v.width}
	for _, c := range all {
		left, p := age(c.Expires, v.now), plain
		ends := c.Expires.UTC().Format(time.DateOnly)
		switch {
		case c.Problem != "":
			ends, left, p = "unknown", c.Problem, red
		case !v.now.Before(c.Expires):
			left, p = "ended "+ago(v.now, c.Expires), red
		case c.Overdue(v.now):
			p = yellow
		}
		g.add(text(c.Use), text(c.Name), text(orNone(c.Issuer)), text(orNone(c.Owner)), text(ends), cell{left, p}, text(c.Renewal))
	}
	return g.write(w, v.ink)
}
