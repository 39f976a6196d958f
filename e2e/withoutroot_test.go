package e2e

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// builtVariable names a directory as [built] to a process of the test binary that is to build nothing.
const builtVariable = "BACKSTAY_TEST_BUILT"

// journeysWithoutRoot are those in which most differs: each engine, processes that answer each other, and a plan's
// storage.
var journeysWithoutRoot = []string{"failover", "mysql", "redis", "storage-watched"}

// TestWithoutRoot has some journeys gone by a user of no rights: platform, databases and clients are all theirs. So a
// machine whose tests run as root sees what they do elsewhere, where all tests do.
func TestWithoutRoot(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("each journey is gone without root")
	}
	account, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("there is nobody without rights: %v", err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	house := houseOf(t, uid, gid)

	cmd := exec.Command(filepath.Join(house, "e2e.test"), "-test.v", "-test.parallel=2",
		"-test.run=^TestScripts$/^("+strings.Join(journeysWithoutRoot, "|")+")$")
	cmd.Dir = filepath.Join(house, "e2e")
	cmd.Env = append(os.Environ(), builtVariable+"="+filepath.Join(house, "built"), "HOME="+filepath.Join(house, "home"))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Pdeathsig: syscall.SIGKILL,
	}
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, journey := range journeysWithoutRoot {
		if !strings.Contains(string(said), "--- PASS: TestScripts/"+journey+"/") {
			t.Errorf("nobody has gone %s:\n%s", journey, said)
		}
	}
}

// houseOf makes a directory with all that journeys need, for a user who may not come where this repository lies.
func houseOf(t *testing.T, uid, gid int) string {
	t.Helper()
	house := testkit.Dir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"mkdir", "bin", "built", "home"},
		{"cp", "-rL", filepath.Join(repository, "e2e"), filepath.Join(repository, "scripts"), "."},
		{"cp", "-L", filepath.Join(repository, "bin", "cf"), "bin"},
		{"cp", self, "e2e.test"},
		{"ln", "-s", filepath.Join(built, "backstay"), filepath.Join(built, "plugins"), "built"},
		{"chown", strconv.Itoa(uid) + ":" + strconv.Itoa(gid), "built", "home"},
	} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = house
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	return house
}
