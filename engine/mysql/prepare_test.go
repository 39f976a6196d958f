package mysql_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/mysql"
)

// Data of another version is kept, and not served.
func TestOtherVersionIsKept(t *testing.T) {
	t.Parallel()
	e := mysql.Engine{}
	n := enginetest.NewNode(t, e)
	if err := os.Mkdir(n.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.DataDir, "mysql_upgrade_info"), []byte("10.6.18-MariaDB"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := e.Prepare(t.Context(), n)
	want := "The data was made by MariaDB 10.6 and cannot be served by MariaDB " + n.Installation.Version + "."
	if backstay.KindOf(err) != backstay.Unavailable || backstay.SentenceOf(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if left, err := os.ReadDir(n.DataDir); err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v (%v)", left, err)
	}
}

func TestInstallations(t *testing.T) {
	t.Parallel()
	const good = "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)"
	for _, tc := range []struct {
		name, says string
		installer  bool
		want       string
	}{
		{"Debian's", good, true, "10.11/10.11.19"},
		{"upstream's", "/usr/sbin/mariadbd  Ver 11.4.2-MariaDB for Linux on x86_64 (MariaDB Server)", true, "11.4/11.4.2"},
		{"no installer", good, false, ""},
		{"another product", "mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", true, ""},
		{"says nothing", "", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			program(t, filepath.Join(root, "sbin", "mariadbd"), "echo '"+tc.says+"'")
			if tc.installer {
				program(t, filepath.Join(root, "bin", "mariadb-install-db"), "")
			}
			found, err := mysql.Engine{Root: root}.Installations(t.Context())
			got := ""
			for _, f := range found {
				got += f.Version + "/" + f.FullVersion
			}
			if err != nil || found == nil || got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

func program(t *testing.T, path, script string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}
