package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

// view is how an answer is drawn: pure functions of it and the answer make the
// output, so that golden files can hold every layout.
type view struct {
	ink   ink
	width int
	now   time.Time
}

func (c *console) view() view { return view{ink: c.ink, width: c.width, now: c.now()} }

// silent names on stderr the clusters that did not answer.
func (c *console) silent(s []fleet.Silence) error {
	if len(s) == 0 {
		return nil
	}
	c.say("%s did not answer:", count(len(s), "cluster"))
	g := grid{indent: "  "}
	for _, one := range s {
		g.add(text(one.Cluster), text(one.Reason))
	}
	if err := g.write(c.Err, false); err != nil {
		return err
	}
	return &codedError{code: exitPartial}
}

// aboutApp is the flags of a verb that looks at one application.
type aboutApp struct {
	cluster string
	output  string
}

func (a *aboutApp) addFlags(c *console, cmd *cobra.Command) {
	cmd.Flags().StringVarP(&a.cluster, "cluster", "C", "", "only this cluster")
	addOutput(cmd, &a.output)
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
}

func addOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "text, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

func checkOutput(output string) error { return oneOf("output", output, "text", "json", "yaml") }

// open checks the flags and finds the application they are about.
func (c *console) open(ctx context.Context, arg string, a aboutApp) (*hub, *v1alpha1.Application, error) {
	if err := checkOutput(a.output); err != nil {
		return nil, nil, err
	}
	if _, err := parseRef(arg, applicationKind); err != nil {
		return nil, nil, err
	}
	h, err := c.connect()
	if err != nil {
		return nil, nil, err
	}
	app, err := h.application(ctx, arg)
	if err != nil {
		return nil, nil, err
	}
	_, err = h.knownCluster(ctx, a.cluster)
	return h, app, err
}
