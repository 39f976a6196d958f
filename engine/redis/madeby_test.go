package redis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Data is served by what made it and by what came after, and by Valkey if Redis made it before they parted.
func TestDataFits(t *testing.T) {
	t.Parallel()
	redis70 := engine.Installation{Product: "Redis", Version: "7.0", FullVersion: "7.0.15"}
	valkey80 := engine.Installation{Product: "Valkey", Version: "8.0", FullVersion: "8.0.1"}
	for _, tc := range []struct {
		name, header string
		here         engine.Installation
		fits         bool
	}{
		{"the same", "REDIS0010\xfa\x09redis-ver\x067.0.15\xfa", redis70, true},
		{"a later patch", "REDIS0010\xfa\x09redis-ver\x067.0.99\xfa", redis70, true},
		{"older", "REDIS0009\xfa\x09redis-ver\x056.2.1\xfa", redis70, true},
		{"newer", "REDIS0011\xfa\x09redis-ver\x057.2.4\xfa", redis70, false},
		{"newer by a digit more", "REDIS0011\xfa\x09redis-ver\x067.10.1\xfa", redis70, false},
		{"Redis before they parted", "REDIS0011\xfa\x09redis-ver\x057.2.4\xfa", valkey80, true},
		{"Redis after they parted", "REDIS0012\xfa\x09redis-ver\x057.4.0\xfa", valkey80, false},
		{"Valkey's", "REDIS0011\xfa\x0avalkey-ver\x058.0.1\xfa", redis70, false},
		{"Valkey's own", "VALKEY080\xfa\x0avalkey-ver\x058.0.3\xfa", valkey80, true},
		{"nothing said", "REDIS0010\xfa\x0aredis-bits\xc0\x40", redis70, true},
		{"empty", "", redis70, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := engine.Node{DataDir: t.TempDir(), Installation: tc.here}
			err := os.Mkdir(filepath.Join(n.DataDir, dataFiles), 0o700)
			if err == nil {
				err = os.WriteFile(filepath.Join(n.DataDir, usersFile), []byte(firstUsers("secret")), 0o600)
			}
			for name, text := range map[string]string{
				manifestFile: "file appendonly.aof.3.base.rdb seq 3 type b\n" +
					"file appendonly.aof.3.incr.aof seq 3 type i\n",
				"appendonly.aof.3.base.rdb": tc.header,
			} {
				if err == nil {
					err = os.WriteFile(filepath.Join(n.DataDir, dataFiles, name), []byte(text), 0o600)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			err = fits(n)
			if (err == nil) != tc.fits || err != nil && backstay.KindOf(err) != backstay.Unsupported {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A server whose file of users has lost its beginning would let everybody in.
func TestUsersFit(t *testing.T) {
	t.Parallel()
	whole := firstUsers("secret")
	for text, fits := range map[string]bool{
		whole: true, whole + "user app on nopass ~* +@all\n": true, "": false, "\n": false, "user app on nopass ~* +@all\n": false,
		whole[strings.Index(whole, "\n")+1:]: false, whole[:strings.Index(whole, "\n")+1]: false,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, usersFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fitUsers(dir); (err == nil) != fits {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if err := fitUsers(t.TempDir()); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("no file: got %v", err)
	}
}
