package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestAction runs the script of the GitHub action as its runner does: a shell, inputs in the environment, files for summary
// and outputs.
func TestAction(t *testing.T) {
	b, err := os.ReadFile("../.github/actions/run/action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var action struct {
		Inputs map[string]struct {
			Default  string
			Required bool
		}
		Outputs map[string]struct{ Value string }
		Runs    struct {
			Using string
			Steps []struct {
				ID, If, Uses, Shell, Run string
				Env, With                map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(b, &action); err != nil {
		t.Fatal(err)
	}
	// Every input that an expression names is one, and each is used.
	var named []string
	for _, m := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(string(b), -1) {
		named = append(named, m[1])
		if _, ok := action.Inputs[m[1]]; !ok {
			t.Errorf("there is no input %s", m[1])
		}
	}
	for name := range action.Inputs {
		if !slices.Contains(named, name) {
			t.Errorf("input %s is not used", name)
		}
	}
	given := map[string]string{
		"scenario": "a scenario.yaml", "args": "--engine process\n  --max-time 1h\n--record vegeta-csv\n", "on-inconclusive": "warn", "on-invalid": "", "out": "the run", "tutti": binary(t),
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "compose.yaml"), sameCompose)
	write(t, filepath.Join(dir, "a scenario.yaml"), `
version: 1
name: action
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {path: /healthz}, nodes: app, node_header: X-Node}
arms:
  a: {env: {SHARE: "0"}}
  b: {env: {SHARE: "0"}}
baseline: a
load: {rate: 50/s, for: 2s, warmup: 500ms, timeout: 1s, requests: [GET /]}
objectives: [{check: b.p90 <= a.p90, margin: 10%}]
repeats: 1
`)
	for _, step := range action.Runs.Steps {
		if strings.Contains(step.Run, "${{") {
			t.Errorf("step %s has an expression in its script", step.ID)
		}
		if step.ID != "run" {
			continue
		}
		c := exec.Command(step.Shell, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.Run)
		c.Dir = dir
		c.Env = append(os.Environ(), "GITHUB_WORKSPACE="+dir, "GITHUB_OUTPUT="+filepath.Join(dir, "outputs"), "GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary"), "RUNNER_TEMP="+dir)
		for key, value := range step.Env {
			if m := regexp.MustCompile(`^\$\{\{ inputs\.([a-z-]+) \}\}$`).FindStringSubmatch(value); m != nil {
				value = given[m[1]]
			}
			c.Env = append(c.Env, key+"="+value)
		}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !strings.Contains(string(out), "::warning file=a scenario.yaml,line=10,") {
			t.Errorf("no annotation in\n%s", out)
		}
	}
	outputs, err := os.ReadFile(filepath.Join(dir, "outputs"))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range action.Outputs {
		if o.Value != "${{ steps.run.outputs."+name+" }}" || !regexp.MustCompile(`(?m)^`+name+`=.`).Match(outputs) {
			t.Errorf("output %s is not among\n%s", name, outputs)
		}
	}
	if !strings.Contains(string(outputs), "verdict=inconclusive\n") || !strings.Contains(string(outputs), "report="+filepath.Join("the run", "report.html")) {
		t.Errorf("outputs are\n%s", outputs)
	}
	// The last line of args was taken, too.
	if _, err := os.Stat(filepath.Join(dir, "the run", "trials", "a-1", "requests.csv")); err != nil {
		t.Error(err)
	}
	if summary, err := os.ReadFile(filepath.Join(dir, "summary")); err != nil || !strings.Contains(string(summary), "Inconclusive: action") {
		t.Errorf("summary: %v %.200s", err, summary)
	}
}
