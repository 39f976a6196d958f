package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/backstay/backstay/internal/testkit"
)

// backToBack are the journeys of developers with services, which do not care where those come from. Others tell the name
// of our own broker, or what it says of a change that is done when it is answered, for which the specification has no
// field.
var backToBack = []string{
	"apps", "audit", "bindings", "conduit-postgres", "keys", "labels", "mysql", "postgres", "quotas", "redis", "rotate",
	"settings", "sharing", "wordpress", "wrong-ways",
}

// TestJourneysBackToBack runs journeys on a marketplace that offers nothing of its own: what there is comes from another
// Backstay, over HTTP.
func TestJourneysBackToBack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	for _, name := range backToBack {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runScript(t, name+".txtar", filepath.Join(repository, "bin"), place{begin: startBackToBack})
		})
	}
}

// startBackToBack starts a broker, and a marketplace for it.
func startBackToBack(t *testing.T, flags []string) sides {
	broker := startBroker(t, flags)
	return sides{market: startInFront(t, broker, flags), broker: broker, name: "behind", known: fmt.Sprintf(
		`%s osb-client instances market --data %s | awk -v id="$1" '$1 == id {print $2}'`, broker.binary, broker.data)}
}

// startBroker starts the broker of a Backstay, without a marketplace.
func startBroker(t *testing.T, flags []string) *platform {
	t.Helper()
	p := prepare(t, "backstay", flags...)
	p.args[0] = "broker"
	p.mustServe()
	return p
}

// startInFront starts a marketplace that sells what the broker of another Backstay offers, to whom that does.
func startInFront(t *testing.T, of *platform, flags []string) *platform {
	t.Helper()
	nothing := filepath.Join(testkit.Dir(t), "nothing.yaml")
	if err := os.WriteFile(nothing, []byte("{currency: GBP, offerings: []}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := append(slices.Clone(flags), "--catalog", nothing, "--tunnel-networks", "127.0.0.0/8") // the last one counts
	if i := slices.Index(own, "--ports"); i >= 0 {                                               // a script's are the broker's
		own = slices.Delete(own, i, i+2)
	}
	p := start(t, "backstay", own...)
	password, err := exec.Command(of.binary, "osb-client", "create", "market", "--data", of.data).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, of.logs())
	}
	home := testkit.Dir(t)
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(repository, "bin", "cf"), args...)
		cmd.Env = append(os.Environ(), "CF_HOME="+home, "CF_USERNAME=admin", "CF_PASSWORD="+p.password)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("cf %s: %v\n%s", args[0], err, out)
		}
		return string(out)
	}
	run("api", p.url)
	run("auth")
	run("create-service-broker", "behind", "market", strings.TrimSpace(string(password)), of.url)
	for _, offering := range openToAll(t, flags) {
		run("enable-service-access", offering, "-b", "behind")
	}
	return p
}

// openToAll are the offerings of a broker's catalog that everybody may use from the beginning.
func openToAll(t *testing.T, flags []string) (names []string) {
	t.Helper()
	i := slices.Index(flags, "--catalog")
	if i < 0 {
		return []string{"postgres", "mysql"}
	}
	text, err := os.ReadFile(flags[i+1])
	if err != nil {
		t.Fatal(err)
	}
	var catalog struct {
		Offerings []struct {
			Name    string
			Private bool
		}
	}
	if err := yaml.Unmarshal(text, &catalog); err != nil {
		t.Fatal(err)
	}
	for _, o := range catalog.Offerings {
		if !o.Private {
			names = append(names, o.Name)
		}
	}
	return names
}
