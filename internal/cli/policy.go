package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/compliance"
	"atoll.dev/atoll/internal/compliance/starter"
	"atoll.dev/atoll/internal/content"
)

// Defaulting fills in what an API server would before its policies see an object.
// The program sets it: the schemes of all kinds of Kubernetes are no part of a
// command line that speaks to APIs.
var Defaulting = func(*unstructured.Unstructured) error { return nil }

func newPolicy(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check manifests against policies, and print a set to begin with",
		Long: `Policies are Kubernetes' own: ValidatingAdmissionPolicies with their bindings. They
are delivered like anything else, by an application, and each cluster's API server
enforces them, with the hub or without it.`,
		Example: `  atoll policy check -f deploy/
  atoll policy starter --audit > policies/starter.yaml
  atoll policy frameworks soc2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyCheck(c), newPolicyStarter(c), newPolicyFrameworks(c))
	return cmd
}

type policyCheck struct {
	files, policies []string
	starter         bool
	namespace       string
	framework       string
	output          string
}

func newPolicyCheck(c *console) *cobra.Command {
	o := policyCheck{}
	cmd := &cobra.Command{
		Use:   "check -f PATH",
		Short: "Which manifests break which policies, before they are delivered",
		Long: `Judge manifests as an API server would if they were created there: with its own
language, its defaults and its limits. No cluster and no hub is asked.

Without --policies they are judged by the starter set, as "atoll policy starter"
prints it, by the Pod Security level that their Namespace enforces, at least Baseline,
and, for each Namespace among them, by two facts that no admission policy can tell (a
NetworkPolicy that denies by default, a quota). With --policies they are judged by the
ValidatingAdmissionPolicies and bindings there, with parameters from there or from
the manifests; --starter adds the set.

A Namespace is exempt from a policy by the label exempt.atoll.dev/POLICY with the
last day of it, and the annotation of that name with "OWNER: REASON". One that is
over, or that nobody owns, counts as a violation.

Exit codes: 0 nothing is broken, 1 violations, 2 a failure, 3 nothing is known to be
broken, but something can only be judged by a cluster.`,
		Example: `  atoll policy check -f deploy/
  kustomize build prod/ | atoll policy check -f - --policies policies/
  atoll policy check -f deploy/ -o sarif > policies.sarif
  atoll policy check -f deploy/ --framework iso27001`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.policyCheck(cmd.Context(), o) },
	}
	cmd.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "manifests: a `file`, a folder or - (repeatable)")
	cmd.Flags().StringArrayVar(&o.policies, "policies", nil, "policies, bindings and parameters: a `file` or a folder (repeatable)")
	cmd.Flags().BoolVar(&o.starter, "starter", false, "by the starter set too, beside --policies")
	cmd.Flags().StringVar(&o.namespace, "member-namespace", "default", "`namespace` of objects that name none")
	cmd.Flags().StringVar(&o.framework, "framework", "", "only policies that support a control of this `framework`: "+strings.Join(compliance.FrameworkIDs(), ", "))
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table, json, yaml or sarif")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml", "sarif"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("framework", cobra.FixedCompletions(compliance.FrameworkIDs(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *console) policyCheck(ctx context.Context, o policyCheck) error {
	if err := oneOf("output", o.output, "table", "json", "yaml", "sarif"); err != nil {
		return err
	}
	if o.framework != "" {
		if err := oneOf("framework", o.framework, compliance.FrameworkIDs()...); err != nil {
			return err
		}
	}
	if len(o.files) == 0 {
		return wrong("atoll policy check needs manifests: -f PATH")
	}
	if slices.Contains(o.policies, "-") {
		return wrong("--policies takes files and folders; standard input is for manifests, with -f -")
	}
	o.starter = o.starter || len(o.policies) == 0
	set, err := c.policySet(o)
	if err != nil {
		return err
	}
	files, err := c.manifestFiles(o.files)
	if err != nil {
		return err
	}
	objects, err := readDefaulted(files)
	if err != nil {
		return err
	}
	report, err := set.Check(ctx, objects, compliance.Options{Namespace: o.namespace, User: account(c.project), Facts: o.starter, Now: c.now()})
	if err != nil {
		return fmt.Errorf("check the manifests: %w", err)
	}
	if o.framework != "" {
		report.Violations = slices.DeleteFunc(report.Violations, func(v compliance.Violation) bool { return !supports(v.Controls, o.framework) })
	}
	if err := c.tellPolicies(report, compliance.Locate(files), o); err != nil {
		return err
	}
	switch {
	case report.Counting() > 0:
		return no()
	case len(report.Undecided) > 0:
		return &codedError{code: exitPartial}
	}
	return nil
}

// account is who delivers to a member for a project.
func account(project string) string {
	if project == "" {
		return "system:serviceaccount:" + v1alpha1.SystemNamespace + ":atoll-agent"
	}
	return "system:serviceaccount:" + v1alpha1.SystemNamespace + ":atoll-project-" + project
}

func supports(controls []string, framework string) bool {
	return slices.ContainsFunc(controls, func(control string) bool { return strings.HasPrefix(control, framework+"/") })
}

// policySet is what manifests are judged by.
func (c *console) policySet(o policyCheck) (*compliance.Set, error) {
	files, err := c.manifestFiles(o.policies)
	if err != nil {
		return nil, err
	}
	objects, err := compliance.Read(files)
	if err != nil {
		return nil, wrong("%v", err)
	}
	if len(o.policies) > 0 && !slices.ContainsFunc(objects, compliance.IsPolicy) {
		return nil, wrong("--policies %s: there is no %s in it", strings.Join(o.policies, " --policies "), compliance.PolicyKind)
	}
	if o.starter {
		objects = append(starterBeside(objects), objects...)
	}
	set, err := compliance.Compile(objects)
	faults := compliance.Faults(nil)
	if !errors.As(err, &faults) {
		return set, err
	}
	places := compliance.Locate(files)
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.String()
		if file, line := places.Fault(f); file != "" {
			lines[i] = fmt.Sprintf("%s:%d: %s", file, line, f)
		}
	}
	return nil, wrong("%s", strings.Join(lines, "\n"))
}

// starterBeside is the starter set without what is given in another form: who
// delivers it changed is judged by what he delivers.
func starterBeside(given []*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.DeleteFunc(starter.Objects(false), func(u *unstructured.Unstructured) bool {
		return slices.ContainsFunc(given, func(g *unstructured.Unstructured) bool {
			return g.GetKind() == u.GetKind() && g.GetName() == u.GetName() && g.GetNamespace() == u.GetNamespace()
		})
	})
}

// manifestFiles names files from where the command was given, so that findings can
// be pinned to a repository's.
func (c *console) manifestFiles(paths []string) ([]content.File, error) {
	var files []content.File
	for _, path := range paths {
		read, err := readFiles(c.In, []string{path})
		if err != nil {
			return nil, err
		}
		for _, f := range read {
			name := path
			switch info, err := os.Stat(path); {
			case path == "-":
				name = f.Name
			case err == nil && info.IsDir():
				name = filepath.ToSlash(filepath.Join(path, f.Name))
			}
			files = append(files, content.File{Name: name, Data: f.Data})
		}
	}
	return files, nil
}

// readDefaulted reads manifests as policies would see them.
func readDefaulted(files []content.File) ([]*unstructured.Unstructured, error) {
	objects, err := compliance.Read(files)
	if err != nil {
		return nil, wrong("%v", err)
	}
	if len(objects) == 0 {
		return nil, wrong("the files hold no objects")
	}
	for _, u := range objects {
		if err := Defaulting(u); err != nil {
			return nil, wrong("%s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
	return objects, nil
}

func newPolicyStarter(c *console) *cobra.Command {
	enforce, audit, output := false, false, ""
	cmd := &cobra.Command{
		Use:   "starter",
		Short: "Print the starter set of policies, to be delivered by an application",
		Long: `Print policies with bindings: required labels, Pod Security levels, nothing of the
host, images with a version, requests, no wildcards in roles. They are refused with
--enforce, and warned of and recorded with --audit, which is the default. The labels
that Namespaces need are in the ConfigMap required-labels.

They are an application's like any other, of a project that may deliver them;
strictness by group of clusters is an override of the bindings' validationActions.`,
		Example: `  atoll policy starter --audit > policies/starter.yaml
  atoll policy starter -o table`,
		Args: takesNothing,
		RunE: func(*cobra.Command, []string) error {
			if enforce && audit {
				return wrong("give --enforce or --audit, not both")
			}
			if err := oneOf("output", output, "yaml", "json", "table"); err != nil {
				return err
			}
			return c.policyStarter(enforce, output)
		},
	}
	cmd.Flags().BoolVar(&enforce, "enforce", false, "refuse what breaks a policy")
	cmd.Flags().BoolVar(&audit, "audit", false, "let it through with a warning and a record")
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "yaml, json or table")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"yaml", "json", "table"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *console) policyStarter(enforce bool, output string) error {
	objects := starter.Objects(enforce)
	switch output {
	case "table":
		return c.starterTable()
	case "json":
		list := make([]any, len(objects))
		for i, u := range objects {
			list[i] = u.Object
		}
		return encode(c.raw.Out, "json", map[string]any{"apiVersion": "v1", "kind": "List", "items": list})
	}
	for i, u := range objects {
		data, err := yaml.Marshal(u.Object)
		if err != nil {
			return fmt.Errorf("write %s %s: %w", u.GetKind(), u.GetName(), err)
		}
		if i > 0 {
			data = append([]byte("---\n"), data...)
		}
		if _, err := c.raw.Out.Write(data); err != nil {
			return err
		}
	}
	return nil
}
