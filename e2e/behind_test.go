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

// each is where a script runs back to back: where it is drawn, with each "make test", as that shows something of its own,
// or where all is asked for, as by "make test-other".
type each int

const (
	whenDrawn each = iota
	whenAllIsAsked
)

// backToBack are the journeys with services. They do not care where those come from: what they see of a broker comes
// over HTTP too.
var backToBack = map[string]each{
	"apps": whenDrawn, "audit": whenDrawn, "bindings": whenDrawn, "busy": whenDrawn, "changes": whenDrawn, "keys": whenDrawn,
	"labels": whenDrawn, "postgres": whenDrawn, "queue": whenDrawn, "quotas": whenDrawn, "redis": whenDrawn, "settings": whenDrawn,
	"sharing": whenDrawn, "storage-watched": whenDrawn, "wrong-ways": whenDrawn,

	"backups-mysql": whenAllIsAsked, "backups-operators": whenAllIsAsked, "backups-postgres": whenAllIsAsked,
	"backups-redis": whenAllIsAsked,
	"broken-engine": whenAllIsAsked, "catalog": whenAllIsAsked, "conduit-mysql": whenAllIsAsked,
	"conduit-postgres": whenAllIsAsked, "conduit-redis": whenAllIsAsked, "conduit-rights": whenAllIsAsked,
	"copy": whenAllIsAsked, "delete-waits": whenAllIsAsked, "disk-nearly-full": whenAllIsAsked, "drills": whenAllIsAsked,
	"drills-weekly": whenAllIsAsked, "drivers": whenAllIsAsked,
	"elasticsearch": whenAllIsAsked, "elasticsearch-backups": whenAllIsAsked, "elasticsearch-encrypted": whenAllIsAsked,
	"elasticsearch-full": whenAllIsAsked,
	"encrypted":          whenAllIsAsked, "endless": whenAllIsAsked, "failover": whenAllIsAsked, "failover-mysql": whenAllIsAsked,
	"failover-mongodb": whenAllIsAsked, "failover-redis": whenAllIsAsked, "failover-two-disks": whenAllIsAsked, "major": whenAllIsAsked,
	"memory-used-up": whenAllIsAsked, "minor": whenAllIsAsked, "mongodb": whenAllIsAsked,
	"mongodb-app": whenAllIsAsked, "mongodb-beside": whenAllIsAsked, "mongodb-full": whenAllIsAsked, "mongodb-backups": whenAllIsAsked, "mongodb-encrypted": whenAllIsAsked, "mysql": whenAllIsAsked,
	"ports-used-up": whenAllIsAsked,
	"readonly":      whenAllIsAsked, "replica": whenAllIsAsked, "replicas": whenAllIsAsked, "restore-waits": whenAllIsAsked,
	"rotate": whenAllIsAsked, "storage-used-up": whenAllIsAsked, "usage": whenAllIsAsked, "wordpress": whenAllIsAsked,
}

// notBackToBack is why the other scripts do not concern what stands between a marketplace and a broker.
var notBackToBack = map[string]string{
	"account": "who asks", "roles": "who asks", "tokens": "who asks", "users": "who asks",
	"proxy": "how the API is reached", "tls": "how the API is reached",
	"elsewhere": "no broker has a part in user-provided services", "user-provided": "no broker has a part in them",
	"openbroker": "a registered broker beside ours", "service-access": "a registered broker beside ours",
	"service-brokers": "a registered broker beside ours", "space-brokers": "a registered broker beside ours",
	"space-brokers-refused": "a registered broker beside ours", "spring": "a registered broker beside ours",
}

// TestJourneysBackToBack runs journeys on a marketplace that offers nothing of its own: what there is comes from another
// Backstay, over HTTP.
func TestJourneysBackToBack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	var names []string
	for name, when := range backToBack {
		if when == whenDrawn || testkit.EveryStep() {
			names = append(names, name)
		}
	}
	for _, name := range testkit.Drawn(t, names) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runScript(t, name+".txtar", filepath.Join(repository, "bin"), place{begin: startBackToBack})
		})
	}
}

// TestEveryJourneyIsOneOrTheOther: a script runs back to back, or it is said why not.
func TestEveryJourneyIsOneOrTheOther(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	known := len(backToBack) + len(notBackToBack)
	for _, script := range scripts {
		name := strings.TrimSuffix(script, ".txtar")
		if strings.HasPrefix(name, "kubernetes-") { // that is below the broker
			continue
		}
		known--
		_, runs := backToBack[name]
		if _, not := notBackToBack[name]; runs == not {
			t.Errorf("%s runs back to back: %t, and does not: %t", name, runs, not)
		}
	}
	if known != 0 {
		t.Errorf("%d are named that are not there", known)
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
