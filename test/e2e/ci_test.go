package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/testfleet"
)

// pipeline is one of the examples: the scripts of its two jobs, without the step
// that brings the program.
type pipeline struct{ plan, deliver string }

func githubPipeline(t *testing.T, path string) pipeline {
	t.Helper()
	var file struct {
		Jobs map[string]struct {
			Steps []struct{ Name, Run string }
		}
	}
	readYAML(t, path, &file)
	script := func(job, step string) string {
		for _, s := range file.Jobs[job].Steps {
			if s.Name == step {
				return s.Run
			}
		}
		t.Fatalf("%s has no step %s in job %s", path, step, job)
		return ""
	}
	return pipeline{script("plan", "Plan"), script("deliver", "Deliver")}
}

func gitlabPipeline(t *testing.T, path string) pipeline {
	t.Helper()
	var file struct{ Plan, Deliver struct{ Script []string } }
	readYAML(t, path, &file)
	return pipeline{strings.Join(file.Plan.Script, "\n"), strings.Join(file.Deliver.Script, "\n")}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestThePipelinesOfTheExamplesPlanAndDeliverWithTheirTokenAlone(t *testing.T) {
	const examples = module + "/examples/ci/"
	f := fleet(t)
	f.Project("storefront")
	f.Hub.MustCLI("kubectl", "--", "apply", "-f", examples+"role.yaml")
	token := strings.TrimSpace(f.Hub.MustCLI("kubectl", "--", "create", "token", "ci", "-n", "storefront", "--duration", "2160h"))
	config := f.Hub.Config()
	program, err := testfleet.Program("atoll")
	if err != nil {
		t.Fatal(err)
	}
	run := func(script, dir string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir = dir
		cmd.Env = []string{
			"PATH=" + filepath.Dir(program) + ":/usr/bin:/bin", "HOME=" + dir, "RUNNER_TEMP=" + dir, "CI_BUILDS_DIR=" + dir,
			"ATOLL_HUB=" + config.Host, "ATOLL_CA=" + base64.StdEncoding.EncodeToString(config.CAData), "ATOLL_TOKEN=" + token,
		}
		return cmd.CombinedOutput()
	}
	for name, p := range map[string]pipeline{
		"first":  githubPipeline(t, examples+"github-actions.yaml"),
		"second": gitlabPipeline(t, examples+"gitlab-ci.yml"),
	} {
		dir := t.TempDir()
		text, err := os.ReadFile(examples + "fleet/storefront.yaml")
		if err != nil {
			t.Fatal(err)
		}
		// Each has something to change, in its own checkout.
		changed := strings.Replace(string(text), "greeting: hello", "value: "+name, 1)
		if err := os.Mkdir(filepath.Join(dir, "fleet"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "fleet", "storefront.yaml"), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := run(p.plan, dir); err != nil || !has(string(out), "app/storefront in storefront", "2 clusters would change") {
			t.Fatalf("the plan: %v\n%s", err, out)
		}
		var log struct{ Version string }
		if data, err := os.ReadFile(filepath.Join(dir, "plan.sarif")); err != nil || json.Unmarshal(data, &log) != nil || log.Version != "2.1.0" {
			t.Errorf("plan.sarif: %v, version %q", err, log.Version)
		}
		if out, err := run(p.deliver, dir); err != nil {
			t.Fatalf("the delivery: %v\n%s", err, out)
		}
		for _, member := range []string{"a", "b"} {
			becomes(t, f.Member(member), "storefront", "storefront", name)
		}
		// What is not the project's is not the token's.
		const beyond = `atoll get clusters || echo refused; ` + `atoll apply -f - <<< '{apiVersion: atoll.dev/v1alpha1, kind: Project, metadata: {name: other}}' || echo refused`
		if out, err := run("export ATOLL_KUBECONFIG=$RUNNER_TEMP/hub; "+beyond, dir); err != nil || strings.Count(string(out), "refused") < 2 {
			t.Errorf("beyond its project: %v\n%s", err, out)
		}
	}
}
