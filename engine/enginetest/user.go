package enginetest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// testUsers runs all tests of users on one node.
func testUsers(t *testing.T, s Subject) {
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	for _, c := range []struct {
		name string
		test func(*testing.T, Subject, engine.Node)
	}{
		{"CredentialsNameTheEndpoint", testCredentials},
		{"CreatedTwiceTheLastPasswordCounts", testCreateTwice},
		{"DroppedWhenAbsent", testDropAbsent},
		{"DroppedLeavesWhatItMade", testDropKeeps},
		{"DroppedEndsSessions", testDropEnds},
		{"DroppedReadsAsAFailedLogin", testDroppedReads},
		{"ReadOnlySeesWhatOthersMake", testReadOnlySees},
		{"ReadOnlyCreatedTwice", testReadOnlyTwice},
		{"ReadOnlyDroppedEndsSessions", testReadOnlyEnds},
		{"ReadOnlyOrNotAsLastCreated", testReadOnlyOrNot},
		{"ManyAtOnce", testUsersAtOnce},
		{"NamesAreChecked", testUserNames},
		{"NoSecretShows", testSecrets},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, s, n)
		})
	}
}

func testCredentials(t *testing.T, s Subject, n engine.Node) {
	u := newUser()
	c := s.createUser(t, n, u)
	port, secret := strconv.Itoa(n.Endpoint.Port), u.Password.Reveal()
	if c["host"] != n.Endpoint.Host || fmt.Sprint(c["port"]) != port || c["password"] != secret {
		t.Errorf("got host %v, port %v, password right: %t, want the endpoint %v and the user's password",
			c["host"], c["port"], c["password"] == secret, n.Endpoint)
	}
	s.session(t, c, func(c Session) { mustSet(t, c, t.Name(), "v") })
}

func testCreateTwice(t *testing.T, s Subject, n engine.Node) {
	u := newUser()
	first := s.createUser(t, n, u)
	u.Password = newUser().Password
	second := s.createUser(t, n, u)
	wantRefused(t, s, first)
	s.session(t, second, func(c Session) { mustSet(t, c, t.Name(), "v") })
	s.createUser(t, n, u)
	s.session(t, second, func(c Session) { wantValue(t, c, t.Name(), "v") })
}

func testDropAbsent(t *testing.T, s Subject, n engine.Node) {
	u := newUser()
	mustDrop(t, s, n, u)
	s.createUser(t, n, u)
	mustDrop(t, s, n, u)
	mustDrop(t, s, n, u)
}

// testDroppedReads wants whoever logs in as a user that is gone to read what a wrong password reads: neither that there
// was such a user, nor anything of how users are kept.
func testDroppedReads(t *testing.T, s Subject, n engine.Node) {
	said := map[string]string{} // what is read, by when
	read := func(when string, u engine.User, c backstay.Credentials) {
		t.Helper()
		session, err := s.Connect(t.Context(), c)
		if err == nil {
			session.Close()
			t.Fatalf("%s is let in", when)
		}
		said[when] = ephemeralPort.ReplaceAllString(strings.ReplaceAll(err.Error(), u.Name, "NAME"), "")
	}
	for _, readOnly := range []bool{false, true} {
		idle, busy := newUser(), newUser()
		idle.ReadOnly, busy.ReadOnly = readOnly, readOnly
		old := s.createUser(t, n, idle)
		idle.Password = newUser().Password
		ended := s.createUser(t, n, idle)
		read("a wrong password", idle, old)
		mustDrop(t, s, n, idle)
		read(fmt.Sprintf("a user that is gone (read-only: %t)", readOnly), idle, ended)
		left := s.createUser(t, n, busy)
		s.session(t, left, func(c Session) {
			if !readOnly {
				mustSet(t, c, t.Name(), "v")
			}
		})
		mustDrop(t, s, n, busy)
		read(fmt.Sprintf("one that leaves something behind (read-only: %t)", readOnly), busy, left)
	}
	for when, text := range said {
		if text != said["a wrong password"] {
			t.Errorf("%s reads %q; a wrong password reads %q", when, text, said["a wrong password"])
		}
	}
}

// ephemeralPort is in what some drivers say of their own end of a connection.
var ephemeralPort = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

func testDropKeeps(t *testing.T, s Subject, n engine.Node) {
	maker, heir := newUser(), newUser()
	s.session(t, s.createUser(t, n, maker), func(c Session) { mustSet(t, c, t.Name(), "kept") })
	mustDrop(t, s, n, maker)
	s.session(t, s.createUser(t, n, heir), func(c Session) {
		wantValue(t, c, t.Name(), "kept")
		mustSet(t, c, t.Name(), "changed")
	})
}

func testDropEnds(t *testing.T, s Subject, n engine.Node) {
	gone, stays := newUser(), newUser()
	credentials := s.createUser(t, n, gone)
	s.session(t, s.createUser(t, n, stays), func(other Session) {
		s.session(t, credentials, func(c Session) {
			mustSet(t, c, t.Name(), "v")
			mustDrop(t, s, n, gone)
			if err := c.Set(t.Context(), t.Name(), "w"); err == nil {
				t.Error("a session goes on though its user is gone")
			}
		})
		wantValue(t, other, t.Name(), "v")
	})
	wantRefused(t, s, credentials)
}

func testUsersAtOnce(t *testing.T, s Subject, n engine.Node) {
	var all errgroup.Group
	for range 8 {
		u := newUser()
		all.Go(func() error {
			if _, err := s.Engine.CreateUser(t.Context(), n, u); err != nil {
				return err
			}
			return s.Engine.DropUser(t.Context(), n, u.Name)
		})
	}
	same := newUser()
	for range 4 {
		all.Go(func() error {
			_, err := s.Engine.CreateUser(t.Context(), n, same)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	for range 4 {
		all.Go(func() error { return s.Engine.DropUser(t.Context(), n, same.Name) })
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}

// testUserNames wants names that are not allowed to be refused.
func testUserNames(t *testing.T, s Subject, n engine.Node) {
	for _, name := range []string{
		"", "Upper", "1st", `a"b`, "a'b", "a b", "a;b", "a-b", "a\nb", "é", strings.Repeat("a", 33),
	} {
		u := engine.User{Name: name, Password: newUser().Password}
		if _, err := s.Engine.CreateUser(t.Context(), n, u); err == nil {
			t.Errorf("user %q was created", name)
		}
	}
	u := newUser()
	u.Name = strings.Repeat("a", 32)
	s.createUser(t, n, u)
	mustDrop(t, s, n, u)
}

// testSecrets looks for passwords and keys where other users of the machine or readers of logs could see them.
func testSecrets(t *testing.T, s Subject, n engine.Node) {
	u := newUser()
	old := s.createUser(t, n, u)
	s.session(t, old, func(c Session) { mustSet(t, c, t.Name(), "v") })
	key := strings.Split(strings.TrimSpace(n.TLS.Key.Reveal()), "\n")
	secrets := []string{u.Password.Reveal(), key[len(key)/2]}
	u.Password = newUser().Password
	s.createUser(t, n, u)
	wantRefused(t, s, old)
	secrets = append(secrets, u.Password.Reveal())
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(lines, files(t, filepath.Dir(n.LogFile))...) {
		wantNotIn(t, path, secrets...)
	}
}

// wantNotIn wants none of the secrets to be in a file.
func wantNotIn(t *testing.T, path string, secrets ...string) {
	t.Helper()
	text, _ := os.ReadFile(path) // a process may have ended
	for _, secret := range secrets {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s holds a secret", path)
		}
	}
}

func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
