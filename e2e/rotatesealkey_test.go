package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// rotateFlags are those of rotate-seal-key, which are serve's.
func (p *platform) rotateFlags(more ...string) []string {
	return append(append([]string{"rotate-seal-key"}, more...), p.args[1:]...)
}

// TestRotateSealKey has another key open all secrets, killed behind each of its steps: serve comes up with what is in
// the file then, and knows what it knew. Afterwards the key before opens nothing, here and in the repository, and the new
// one opens a backup of before, on another machine.
func TestRotateSealKey(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	where := filepath.Join(testkit.Dir(t), "repository")
	p := start(t, "backstay-crash", "--repository", where)
	p.mustCreateOrganization("kept")
	refused(t, p, 1, "serve must be ended", p.rotateFlags()...)
	earlier := filepath.Join(t.TempDir(), "earlier.key")
	mustCopy(t, filepath.Join(p.data, "seal.key"), earlier)
	_, err := exec.LookPath("pgbackrest")
	backedUp := err == nil && !testing.Short()
	if backedUp {
		p.backUp()
	}
	steps := commandSteps(t, "rotate-seal-key")
	if testing.Short() {
		steps = steps[2:3]
	}
	for _, step := range steps {
		p.kill()
		p.killBehind(step, p.rotateFlags()...)
		p.mustServe()
		p.wantKnown("kept")
		p.kill()
		p.mustRotate()
		p.mustServe()
		p.wantKnown("kept")
	}
	p.stop()
	now := filepath.Join(t.TempDir(), "now.key")
	mustCopy(t, filepath.Join(p.data, "seal.key"), now)
	p.wantNowhere(strings.TrimSpace(mustRead(t, earlier)))
	refused(t, p, 1, "is not that of "+p.data, append(p.args, "--seal-key", earlier)...)
	if backedUp {
		p.restoreElsewhere(where, earlier, now)
	}
}

func mustRead(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (p *platform) mustRotate(more ...string) {
	p.t.Helper()
	out, err := exec.Command(p.binary, p.rotateFlags(more...)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "and by no other") {
		p.t.Fatalf("rotate-seal-key: %v\n%s\n%s", err, out, p.logs())
	}
}

// restoreElsewhere restores the platform, which has no database of users, on another machine by its new key.
func (p *platform) restoreElsewhere(where, earlier, now string) {
	p.t.Helper()
	other := prepare(p.t, "backstay", "--repository", where)
	other.password = p.password
	restore := append([]string{"restore-platform"}, other.args[1:]...)
	refused(p.t, other, 1, "wants another sealing key", append(restore, "--key-file", earlier)...)
	out, err := exec.Command(other.binary, append(restore, "--seal-key", now)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("restore-platform: %v\n%s\n%s", err, out, other.logs())
	}
	other.args = append(other.args, "--seal-key", now)
	other.mustServe()
	other.wantKnown("kept")
}

// TestRotateSealKeyToACommand moves to a key that comes from elsewhere, interrupted behind the step after which the key
// before opens nothing any more.
func TestRotateSealKeyToACommand(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay-crash")
	p.mustCreateOrganization("kept")
	p.kill()
	command, _ := sealingCommand(t)
	refused(t, p, 2, "wants --new-seal-key", p.rotateFlags("--seal-key", command)...)
	p.killBehind("rotate-seal-key.removed", p.rotateFlags("--new-seal-key", command)...)
	refused(t, p, 1, "is not that of "+p.data, p.args...)
	for range 2 {
		p.mustRotate("--new-seal-key", command)
	}
	p.args = append(p.args, "--seal-key", command)
	p.mustServe()
	p.wantKnown("kept")
}
