package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/clientenv"
)

// TestServicesThatAreTooLongAreAFile starts a program with as much as fits, and with more.
func TestServicesThatAreTooLongAreAFile(t *testing.T) {
	t.Parallel()
	most := strings.Repeat("x", longestVariable-len(servicesVariable)-2)
	variables := map[string]string{servicesVariable: most, "A": "b"}
	if err := fitEnvironment(variables); err != nil || variables[servicesVariable] != most || len(variables) != 2 {
		t.Fatalf("what fits: %v, %d variables", err, len(variables))
	}
	shell := func(line string) string {
		t.Helper()
		cmd := exec.Command("sh", "-c", line)
		cmd.Env = clientenv.Replace(os.Environ(), variables)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %.200s", line, err, out)
		}
		return string(out)
	}
	if got := shell(`printf %s "$VCAP_SERVICES"`); got != most {
		t.Errorf("a program finds %d of %d characters", len(got), len(most))
	}

	variables[servicesVariable] = most + "y"
	if err := fitEnvironment(variables); err != nil {
		t.Fatal(err)
	}
	if got := shell(`cat "$VCAP_SERVICES_FILE_PATH"; printf %s "$VCAP_SERVICES"`); got != most+"y" {
		t.Errorf("a program finds %d of %d characters", len(got), len(most)+1)
	}

	variables["BIG"] = most + most
	if err := fitEnvironment(variables); err == nil || !strings.Contains(err.Error(), "BIG has 262114 bytes") {
		t.Errorf("another variable: %v", err)
	}
}
