package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// TestRestorePlatform loses a whole machine but for its repository and its key file, with the newest backup of the
// platform damaged. On another machine restore-platform is killed behind each of its steps, and takes the backup before
// by itself. Then all is there that was: users, organizations, instances with their data, plans and
// windows, bindings and keys with their credentials, and what deleted instances have left.
func TestRestorePlatform(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	for _, tool := range []string{"pgbackrest", "mariadb-backup"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s on this machine; type: make setup", tool)
		}
	}
	repository := filepath.Join(testkit.Dir(t), "repository")
	lost := start(t, "backstay-crash", "--repository", repository)
	var tenants []*tenant
	for _, of := range breeds {
		tenants = append(tenants, lost.settleTenant(t, of))
	}
	deleted := lost.newLife(t, redisBreed, "deleted")
	deleted.create()
	deleted.remove("/v3/service_instances/"+deleted.instance, "/v3/service_instances?guids="+deleted.instance)
	first := lost.backUp()
	lost.mustCreateOrganization("after")
	lost.mustDamage(repository, lost.backUp())
	key := filepath.Join(t.TempDir(), "seal.key")
	mustCopy(t, filepath.Join(lost.data, "seal.key"), key)
	refuseToRestore(t, lost, key)
	lost.stop()
	if err := os.RemoveAll(lost.data); err != nil {
		t.Fatal(err)
	}

	p := prepare(t, "backstay-crash", "--repository", repository)
	p.password = lost.password
	p.mustRestore(key, first)
	p.mustServe()
	p.wantKnown("after")
	for _, tenant := range tenants {
		tenant.platform = p
		tenant.checkBack()
	}
	eventually(t, "the restoration ends", func() bool {
		_, err := os.Stat(filepath.Join(p.data, "restoration"))
		return os.IsNotExist(err)
	})
	if said := p.operate("backups", deleted.instance); !strings.Contains(said, "(the last one)") {
		t.Errorf("of a deleted instance is kept\n%s", said)
	}
	p.backUp()
}

// tenant is who has an instance with data in it, and what is known of it.
type tenant struct {
	*life
	key        map[string]any // the credentials of a service key
	parameters map[string]any
}

// newLife is one of a paid plan, which is backed up.
func (p *platform) newLife(t *testing.T, of breed, name string) *life {
	of.plan = of.larger
	l := &life{ward: &ward{breed: of, platform: p}, t: t, name: name}
	l.space, l.app = l.settle()
	return l
}

func (p *platform) settleTenant(t *testing.T, of breed) *tenant {
	t.Helper()
	own := &tenant{life: p.newLife(t, of, "tenant-"+of.name)}
	own.create()
	own.bind()
	own.keep()
	find := "/v3/service_credential_bindings?type=key&service_instance_guids=" + own.instance
	key := own.make(find, "/v3/service_credential_bindings",
		object{"type": "key", "name": "key", "relationships": object{"service_instance": to(own.instance)}})
	own.outcome(find)
	own.key = own.credentialsOf(key)
	if _, _, err := own.call("PATCH", "/v3/service_instances/"+own.instance,
		object{"parameters": object{"backup": "now"}}, nil); err != nil {
		t.Fatal(err)
	}
	if op := own.outcome("/v3/service_instances?guids=" + own.instance); op.State != "succeeded" {
		t.Fatalf("the backup ended as %+v", op)
	}
	own.parameters = own.settings()
	return own
}

func (own *tenant) credentialsOf(binding string) map[string]any {
	own.life.t.Helper()
	var details struct{ Credentials map[string]any }
	if _, _, err := own.call("GET", "/v3/service_credential_bindings/"+binding+"/details", nil, &details); err != nil {
		own.life.t.Fatal(err)
	}
	return details.Credentials
}

// settings are the parameters that the instance has, but for those that tell of its backups.
func (own *tenant) settings() map[string]any {
	own.life.t.Helper()
	var all map[string]any
	if _, _, err := own.call("GET", "/v3/service_instances/"+own.instance+"/parameters", nil, &all); err != nil {
		own.life.t.Fatal(err)
	}
	kept := map[string]any{}
	for name, value := range all {
		if strings.HasPrefix(name, "preferred_") || strings.HasPrefix(name, "backup_retention") {
			kept[name] = value
		}
	}
	return kept
}

// checkBack waits until the tenant's instance serves again, and compares it with what it was.
func (own *tenant) checkBack() {
	t := own.life.t
	t.Helper()
	eventually(t, own.name+" is back", own.serves)
	if now := own.credentialsOf(own.binding); !reflect.DeepEqual(now, own.credentials) {
		t.Errorf("%s: the credentials of a binding have changed", own.name)
	}
	eventually(t, "the service key of "+own.name+" works", func() bool {
		session, err := own.open(own.life.t.Context(), own.key)
		if err == nil {
			session.Close()
		}
		return err == nil
	})
	if now := own.settings(); !reflect.DeepEqual(now, own.parameters) || len(now) < 3 {
		t.Errorf("%s: the parameters were %v, and are %v", own.name, own.parameters, now)
	}
	if !own.has(own.plan()) {
		t.Errorf("%s has another plan", own.name)
	}
}

// refuseToRestore tries what cannot be restored. Nothing is made or changed by that.
func refuseToRestore(t *testing.T, lost *platform, key string) {
	t.Helper()
	dir := testkit.Dir(t)
	empty, other := filepath.Join(dir, "empty"), filepath.Join(dir, "other.key")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte(strings.Repeat("5a", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	repository := lost.args[len(lost.args)-1]
	data := filepath.Join(dir, "data")
	for reason, flags := range map[string][]string{
		"wants another sealing key":                           {"--data", data, "--repository", repository, "--key-file", other},
		"There is no backup of a platform in this repository": {"--data", data, "--repository", empty, "--key-file", key},
		"is not there: is its disk mounted?": {
			"--data", data, "--repository", filepath.Join(dir, "absent"), "--key-file", key},
		"a Backstay has served from " + lost.data: {
			"--data", lost.data, "--repository", repository, "--key-file", key},
	} {
		refused(t, lost, 1, reason, append([]string{"restore-platform"}, flags...)...)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("a refused restoration made %s (%v)", data, err)
	}
}

// mustRestore restores the platform, whose newest backup is damaged, so that it takes the earlier one.
func (p *platform) mustRestore(key, earlier string) {
	p.t.Helper()
	args := append([]string{"restore-platform", "--key-file", key}, p.args[1:]...)
	steps := commandSteps(p.t, "restore-platform")
	for _, step := range steps[:len(steps)-2] {
		p.killBehind(step, args...)
	}
	refused(p.t, p, 1, "is not restored yet", p.args...)
	p.killBehind(steps[len(steps)-2], args...)
	p.mustDamageNote()
	refused(p.t, p, 1, "With --state-version, it is not needed.", args...)
	args = append(args, "--backup", earlier, "--state-version", "15")
	if out, err := exec.Command(p.binary, args...).CombinedOutput(); err != nil {
		p.t.Fatalf("restore-platform: %v\n%s\n%s", err, out, p.logs())
	}
	refused(p.t, p, 1, "is restored already", args...)
}

// commandSteps are the steps of a command, as its source names them.
func commandSteps(t testing.TB, command string) (names []string) {
	t.Helper()
	file := strings.ReplaceAll(command, "-", "") + ".go"
	source, err := os.ReadFile(filepath.Join(repository, "cmd", "backstay", file))
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`Name: "(`+command+`\.[^"]+)"`).FindAllSubmatch(source, -1) {
		names = append(names, string(found[1]))
	}
	if len(names) < 3 {
		t.Fatalf("the steps of %s are %q", command, names)
	}
	return names
}

// killBehind runs a command until it has done a step, and kills it.
func (p *platform) killBehind(step string, args ...string) {
	p.t.Helper()
	stopped := filepath.Join(p.t.TempDir(), "stopped")
	if err := os.WriteFile(stopped+".armed", nil, 0o600); err != nil {
		p.t.Fatal(err)
	}
	var said strings.Builder
	cmd := exec.Command(p.binary, args...)
	cmd.Env = append(os.Environ(), "BACKSTAY_STOP_AFTER="+step, "BACKSTAY_STOPPED="+stopped)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	eventually(p.t, "it comes to "+step, func() bool {
		select {
		case <-ended:
			p.t.Fatalf("%v ended before %s:\n%s", args, step, said.String())
		default:
		}
		_, err := os.Stat(stopped)
		return err == nil
	})
	cmd.Process.Kill()
	<-ended
}

func (p *platform) mustCreateOrganization(name string) {
	p.t.Helper()
	if _, _, err := p.call("POST", "/v3/organizations", object{"name": name}, nil); err != nil {
		p.t.Fatal(err)
	}
}

// operate runs an operator's command, and returns what it prints.
func (p *platform) operate(args ...string) string {
	p.t.Helper()
	out, err := exec.Command(p.binary, append(args, "--data", p.data)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("backstay %v: %v\n%s\n%s", args, err, out, p.logs())
	}
	return string(out)
}

// backUp backs up the platform, and returns the backup's id.
func (p *platform) backUp() (id string) {
	p.t.Helper()
	said := p.operate("backup-platform")
	if _, err := fmt.Sscanf(said, "Backup %s of the platform", &id); err != nil {
		p.t.Fatalf("backup-platform says %s", said)
	}
	return id
}

// mustDamage changes a bit of each file of a backup of the platform.
func (p *platform) mustDamage(repository, id string) {
	p.t.Helper()
	damaged := 0
	dir := filepath.Join(repository, "state", "backup", "main", id)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), "backup.manifest") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) == 0 {
			return err
		}
		text[len(text)/2] ^= 1
		damaged++
		return os.WriteFile(path, text, 0o600)
	})
	if err != nil || damaged == 0 {
		p.t.Fatalf("%d files were damaged: %v", damaged, err)
	}
}

func mustCopy(t testing.TB, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// mustDamageNote cuts off what the repository has for a new machine besides the backups.
func (p *platform) mustDamageNote() {
	p.t.Helper()
	notes, err := filepath.Glob(filepath.Join(p.args[len(p.args)-1], "platform", "recovery*"))
	if err != nil || len(notes) == 0 {
		p.t.Fatalf("the recovery notes are %v, %v", notes, err)
	}
	for _, note := range notes {
		if err := os.Truncate(note, 20); err != nil {
			p.t.Fatal(err)
		}
	}
}
