package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTerraformProvider has the genuine provider make an organization with a user and a database, find it as it was made,
// change it in its place, find that too, and destroy it.
func TestTerraformProvider(t *testing.T) {
	programs := os.Getenv("BACKSTAY_TEST_TERRAFORM")
	if programs == "" {
		t.Skip("BACKSTAY_TEST_TERRAFORM names no directory with tofu and terraform-provider-cloudfoundry: make test-other does")
	}
	t.Parallel()
	p := start(t, "backstay")
	before := map[string]string{"organization": "team", "given_name": "Ada", "work_mem": "8MB"}
	after := map[string]string{"organization": "team-of-ada", "given_name": "Augusta", "work_mem": "16MB"}
	tofu := newTofu(t, programs, p)
	tofu.run(before, "apply", "-auto-approve")
	tofu.run(before, "plan", "-detailed-exitcode") // which fails if anything differs
	said := tofu.run(after, "apply", "-auto-approve")
	if !strings.Contains(said, "Resources: 0 added, 3 changed, 0 destroyed.") {
		t.Errorf("the change is told as\n%s", said)
	}
	tofu.run(after, "plan", "-detailed-exitcode")
	tofu.run(after, "destroy", "-auto-approve")
}

// tofu is OpenTofu in a directory with a configuration and its state.
type tofu struct {
	t       *testing.T
	program string
	dir     string
	env     []string
}

func newTofu(t *testing.T, programs string, p *platform) *tofu {
	t.Helper()
	dir := t.TempDir()
	configuration, err := os.ReadFile(filepath.Join(testdata, "terraform", "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	// The provider is not looked for in a registry.
	settings := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    %q = %q\n  }\n  direct {}\n}\n",
		"local.test/cloudfoundry/cloudfoundry", programs)
	for name, text := range map[string]string{"main.tf": string(configuration), "settings": settings} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &tofu{t: t, program: filepath.Join(programs, "tofu"), dir: dir, env: append(os.Environ(),
		"TF_CLI_CONFIG_FILE="+filepath.Join(dir, "settings"), "TF_VAR_api="+p.url, "TF_VAR_password="+p.password)}
}

func (o *tofu) run(variables map[string]string, args ...string) string {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), o.program, append(slices.Clone(args), "-no-color")...)
	cmd.Dir, cmd.Env = o.dir, slices.Clone(o.env)
	for name, value := range variables {
		cmd.Env = append(cmd.Env, "TF_VAR_"+name+"="+value)
	}
	said, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("tofu %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return string(said)
}
