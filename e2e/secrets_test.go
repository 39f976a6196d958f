package e2e

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSecretsStayInside looks for secrets wherever others could look while an app is at its database:
// process lists, environments, and all that lies below the data directory.
func TestSecretsStayInside(t *testing.T) {
	onEachBreed(t, func(l *life) {
		s := l.secrets()
		l.openSession()
		s.checkProcesses(l.t, l.data)
		s.checkFiles(l.t, l.data)
	})
}

// secrets are found nowhere, each under what it is.
type secrets map[string]string

func (l *life) secrets() secrets {
	l.t.Helper()
	sealKey, err := os.ReadFile(filepath.Join(l.data, "seal.key"))
	if err != nil {
		l.t.Fatal(err)
	}
	s := secrets{
		"the admin's password":            l.password,
		"an access token":                 l.token,
		"a binding's password":            l.credentials["password"].(string),
		"a key's password":                l.keyPassword(),
		"a password that a user provided": l.providedPassword(),
		"the seal key":                    strings.TrimSpace(string(sealKey)),
		"a variable of the app":           l.variable(),
	}
	for what, secret := range s {
		if len(secret) < 16 {
			l.t.Fatalf("%s is %q, which is none", what, secret)
		}
	}
	return s
}

// variable gives the app one that is nobody else's to know.
func (l *life) variable() (secret string) {
	l.t.Helper()
	secret = rand.Text()
	if _, _, err := l.call("PATCH", "/v3/apps/"+l.app+"/environment_variables", object{"var": object{"API_KEY": secret}},
		nil); err != nil {
		l.t.Fatal(err)
	}
	return secret
}

func (l *life) keyPassword() string {
	l.t.Helper()
	var details struct{ Credentials struct{ Password string } }
	key := l.make("/v3/service_credential_bindings?type=key&service_instance_guids="+l.instance,
		"/v3/service_credential_bindings",
		object{"type": "key", "name": "laptop", "relationships": object{"service_instance": to(l.instance)}})
	if _, _, err := l.call("GET", "/v3/service_credential_bindings/"+key+"/details", nil, &details); err != nil {
		l.t.Fatal(err)
	}
	return details.Credentials.Password
}

// providedPassword is in a user-provided instance and in its binding, and was there before it was changed.
func (l *life) providedPassword() string {
	l.t.Helper()
	password, name := rand.Text(), l.name+"-provided"
	provided := l.make(
		"/v3/service_instances?names="+name,
		"/v3/service_instances",
		object{"type": "user-provided", "name": name,
			"credentials": object{"password": password}, "relationships": object{"space": to(l.space)}},
	)
	app := l.make("/v3/apps?names="+name, "/v3/apps", object{"name": name, "relationships": object{"space": to(l.space)}})
	l.make("/v3/service_credential_bindings?service_instance_guids="+provided, "/v3/service_credential_bindings",
		object{"type": "app", "relationships": object{"app": to(app), "service_instance": to(provided)}})
	if _, _, err := l.call("PATCH", "/v3/service_instances/"+provided,
		object{"credentials": object{"password": password, "more": 1}}, nil); err != nil {
		l.t.Fatal(err)
	}
	return password
}

// openSession runs the engine's own client as an app would, until the test ends.
func (l *life) openSession() {
	l.t.Helper()
	home := l.t.TempDir()
	tools := filepath.Join(repository, "bin") + ":" + filepath.Join(repository, "scripts") + ":" + built
	environment := append(os.Environ(), "CF_HOME="+home, "PATH="+tools+":"+os.Getenv("PATH"), "CF_USERNAME=admin",
		"CF_PASSWORD="+l.password)
	do := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Env = environment
		return cmd
	}
	for _, args := range [][]string{{"api", l.url}, {"auth"}, {"target", "-o", l.name, "-s", l.name}} {
		if out, err := do(filepath.Join(repository, "bin", "cf"), args...).CombinedOutput(); err != nil {
			l.t.Fatalf("cf %s: %v\n%s", args, err, out)
		}
	}
	session := do(l.binary, append([]string{"run", l.name, "--"}, l.toil...)...)
	session.Dir = home
	session.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := session.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		syscall.Kill(-session.Process.Pid, syscall.SIGTERM)
		session.Wait()
	})
	l.awaitToil()
}

// look fails for each secret in text but the one that is meant to be there.
func (s secrets) look(t testing.TB, where string, text []byte, meant string) {
	t.Helper()
	for what, secret := range s {
		if what != meant && bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s is in %s", what, where)
		}
	}
}

// checkProcesses looks at what /proc tells everybody of each process, and at what it tells the
// process's owner: only clients of ours have secrets in their environment.
func (s secrets) checkProcesses(t testing.TB, data string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	clients := 0
	for _, p := range all {
		command, _ := os.ReadFile(filepath.Join(p, "cmdline")) // some have ended by now
		s.look(t, p+"/cmdline", command, "")
		environment, _ := os.ReadFile(filepath.Join(p, "environ"))
		info, err := os.Stat(filepath.Join(p, "environ"))
		if err != nil || !bytes.Contains(environment, []byte(s["a binding's password"])) {
			s.look(t, p+"/environ", environment, "")
			continue
		}
		clients++
		if info.Mode().Perm()&0o077 != 0 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) ||
			bytes.Contains(command, []byte(data)) {
			t.Errorf("the environment of %q, with a password in it, has mode %s", command, info.Mode())
		}
	}
	if clients == 0 {
		t.Error("no environment of a client was seen: this test sees nothing")
	}
}

// checkFiles holds all below data to being its owner's alone and to hold no secret, but for the files
// that are there for one.
func (s secrets) checkFiles(t testing.TB, data string) {
	t.Helper()
	meant := map[string]string{"seal.key": "the seal key", "admin-password": "the admin's password"}
	logs := 0
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = checkModes(t, path, d)
		}
		if err == nil && d.Type().IsRegular() {
			var text []byte
			text, err = os.ReadFile(path)
			s.look(t, path, text, meant[strings.TrimPrefix(path, data+"/")])
			if strings.HasPrefix(path, data+"/keeper/") && bytes.Contains(text, []byte("PRIVATE KEY")) {
				t.Errorf("%s has a private key in clear", path)
			}
		}
		if strings.HasSuffix(path, ".log") {
			logs++
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // databases make and remove files all the time
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if logs < 4 { // of serve, the keeper, and two engines
		t.Errorf("%d logs were seen: this test does not know where they are", logs)
	}
}

// checkModes holds a file to being its owner's alone, and what a socket lies in: MySQL leaves its own to
// everybody. As root, directories may be passed through by the users that databases run as.
func checkModes(t testing.TB, path string, d fs.DirEntry) error {
	t.Helper()
	info, err := d.Info()
	if d.Type() == fs.ModeSocket {
		info, err = os.Stat(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	allowed := fs.FileMode(0o700)
	if strings.Contains(path, "/builds/") { // copies of what everybody may read where it is installed
		allowed = 0o755
	}
	if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		t.Errorf("%s has mode %s: it gives away its owner's rights", path, info.Mode())
	}
	if d.IsDir() && os.Geteuid() == 0 {
		allowed |= 0o711
	}
	if d.Name() == "authority.pem" { // whoever trusts it must read it, and there is nothing to hide in it
		allowed |= 0o044
	}
	if d.Type() != fs.ModeSymlink && info.Mode().Perm()&^allowed != 0 {
		t.Errorf("%s has mode %s", path, info.Mode())
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; d.IsDir() && info.Mode().Perm()&0o011 != 0 &&
		owner != uint32(os.Geteuid()) {
		t.Errorf("%s can be passed through, and is not ours", path)
	}
	return nil
}
