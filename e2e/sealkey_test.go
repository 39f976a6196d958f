package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sealingCommand is a program that gives the sealing key, until the key is taken away from it.
func sealingCommand(t testing.TB) (setting, key string) {
	t.Helper()
	dir := t.TempDir()
	key, program := filepath.Join(dir, "backstay"), filepath.Join(dir, "unseal")
	mustWriteFile(t, key, strings.Repeat("a5", 32)+"\n", 0o600)
	mustWriteFile(t, program, "#!/bin/sh\n[ \"$1\" = backstay ] || exit 2\ncat "+key+" && exit\necho the token is locked >&2\nexit 1\n",
		0o700)
	return "command:" + program + " backstay", key
}

func mustWriteFile(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// sealedBy changes the last argument of serve, which says where the sealing key comes from.
func (p *platform) sealedBy(source string) { p.args[len(p.args)-1] = source }

// TestSealKeyOfACommand has the sealing key come from a command, then from a credential of systemd and from a file
// elsewhere: it lies nowhere in the data directory. Another key is refused before anything serves, and one that cannot
// be had is told of; neither is ever made anew.
func TestSealKeyOfACommand(t *testing.T) {
	t.Parallel()
	command, key := sealingCommand(t)
	p := start(t, "backstay", "--seal-key", command)
	p.mustCreateOrganization("kept")
	if said := p.operate("doctor", "--seal-key", command); !strings.Contains(said, "apart from the data") {
		t.Errorf("doctor says\n%s", said)
	}
	p.operate("user", "list", "--seal-key", command)
	p.stop()

	p.env = []string{"CREDENTIALS_DIRECTORY=" + filepath.Dir(key)}
	p.sealedBy("credential:" + filepath.Base(key))
	p.mustServe()
	p.wantKnown("kept")
	p.stop()

	p.sealedBy(key + ".other")
	mustWriteFile(t, key+".other", strings.Repeat("5a", 32)+"\n", 0o600)
	refused(t, p, 1, "is not that of "+p.data, p.args...)
	if text, err := os.ReadFile(filepath.Join(p.data, "keeper.log")); err != nil || strings.Contains(string(text), "other") {
		t.Errorf("a keeper was started (%v)", err)
	}

	p.sealedBy(command)
	giveBack := filepath.Join(t.TempDir(), "key")
	p.mustRename(key, giveBack)
	if out := p.operateFailing("doctor", "--seal-key", command); !strings.Contains(out, "the token is locked") {
		t.Errorf("doctor says\n%s", out)
	}
	p.mustRename(giveBack, key)
	p.sealedBy(key)
	p.mustServe()
	p.wantKnown("kept")
	p.wantMissing("seal.key")
	p.wantNowhere(strings.Repeat("a5", 32))
}

// wantNowhere looks for a text in all files of the data directory.
func (p *platform) wantNowhere(text string) {
	p.t.Helper()
	out, err := exec.Command("grep", "-rlF", "--", text, p.data).Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || len(out) > 0 { // a file may go while grep looks, which is its exit code 2
		p.t.Errorf("%.6s… lies in\n%s(%v)", text, out, err)
	}
}

// operateFailing is operate for a command that is to fail.
func (p *platform) operateFailing(args ...string) string {
	p.t.Helper()
	out, err := exec.Command(p.binary, append(args, "--data", p.data)...).CombinedOutput()
	if err == nil {
		p.t.Errorf("backstay %v does not fail:\n%s", args, out)
	}
	return string(out)
}

// TestKeeperIsHandedItsKey has serve alone get the sealing key: a keeper that dies has it from serve again, one that
// nobody hands it to refuses to keep anything, and no record says a secret.
func TestKeeperIsHandedItsKey(t *testing.T) {
	t.Parallel()
	command, key := sealingCommand(t)
	p := start(t, "backstay", "--keeper-unseals", "false", "--seal-key", command)
	own := p.newLife(t, redisBreed, "sealed")
	own.create()
	own.bind()
	own.keep()
	kept := filepath.Join(p.data, "keeper")
	eventually(t, "the record of the backups is there", func() bool {
		_, err := os.Stat(filepath.Join(kept, "backups", own.instance+".json"))
		return err == nil
	})
	records, err := exec.Command("grep", "-rl", `"key":"sealed:`, kept).Output()
	if err != nil || strings.Count(string(records), own.instance) != 2 {
		t.Errorf("these records have sealed keys (%v):\n%s", err, records)
	}
	if clear, err := exec.Command("grep", "-rlE", `PRIVATE KEY|"key":"[^s"]`, kept).Output(); err == nil {
		t.Errorf("these records have keys in clear:\n%s", clear)
	}
	p.mustRename(key, key+".away") // the server of keys is down, and serve has what it needs
	before := p.keeperPID()
	killPID(before)
	eventually(t, "another keeper runs", func() bool { now := p.keeperPID(); return now != 0 && now != before })
	eventually(t, "the instance serves", own.serves)
	p.mustRename(key+".away", key)
	p.stop()
	refused(t, p, 1, "serve starts it and hands that over", append([]string{"keep"}, p.keepFlags()...)...)
	p.mustServe()
	eventually(t, "the instance serves again", own.serves)
}

// keepFlags are the flags of serve that the keeper takes too.
func (p *platform) keepFlags() (flags []string) {
	for i := 1; i+1 < len(p.args); i += 2 {
		if name := p.args[i]; name != "--listen" && name != "--admin-password-file" {
			flags = append(flags, name, p.args[i+1])
		}
	}
	return flags
}
