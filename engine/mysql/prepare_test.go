package mysql_test

import (
	"fmt"
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
	e := tested
	n := enginetest.NewNode(t, e)
	if err := os.Mkdir(n.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	mark := map[string][2]string{"MariaDB": {"mysql_upgrade_info", "1.2.3-MariaDB"},
		"MySQL": {"made_by_mysql", "1.2\n"}}[n.Installation.Product]
	if err := os.WriteFile(filepath.Join(n.DataDir, mark[0]), []byte(mark[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	err := e.Prepare(t.Context(), n)
	product := n.Installation.Product
	want := fmt.Sprintf("The data was made by %s 1.2 and cannot be served by %s %s.", product, product,
		n.Installation.Version)
	if backstay.KindOf(err) != backstay.Unsupported || backstay.SentenceOf(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if left, err := os.ReadDir(n.DataDir); err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v (%v)", left, err)
	}
}

func TestInstallations(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, server, says, companion, want string }{
		{"Debian's MariaDB", "mariadbd",
			"mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)", "mariadb-install-db",
			"MariaDB 10.11/10.11.19"},
		{"MariaDB of its makers", "mariadbd", "/usr/sbin/mariadbd  Ver 11.4.2-MariaDB for Linux on x86_64 (MariaDB Server)",
			"mariadb-install-db", "MariaDB 11.4/11.4.2"},
		{"MariaDB without its installer", "mariadbd",
			"mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)", "", ""},
		{"MySQL of its makers", "mysqld", "/usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)",
			"", "MySQL 8.0/8.0.36"},
		{"MySQL of Ubuntu", "mysqld", "/usr/sbin/mysqld  Ver 8.0.39-0ubuntu0.24.04.2 for Linux on x86_64 ((Ubuntu))",
			"", "MySQL 8.0/8.0.39"},
		{"MySQL of Debian", "mysqld", "/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "", "MySQL 9.7/9.7.4"},
		{"MySQL too old", "mysqld",
			"/usr/sbin/mysqld  Ver 5.7.44 for Linux on x86_64 (MySQL Community Server (GPL))", "", ""},
		{"MariaDB by its old name", "mysqld",
			"mysqld  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)", "", ""},
		{"Percona's", "mysqld",
			"/usr/sbin/mysqld  Ver 8.0.36-28 for Linux on x86_64 (Percona Server (GPL), Release 28, Revision 47601f19)", "",
			""},
		{"says nothing", "mariadbd", "", "mariadb-install-db", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			program(t, filepath.Join(root, "sbin", tc.server), "echo '"+tc.says+"'")
			if tc.companion != "" {
				program(t, filepath.Join(root, "bin", tc.companion), "")
			}
			found, err := mysql.Engine{Roots: []string{root}}.Installations(t.Context())
			got := ""
			for _, f := range found {
				got += f.Product + " " + f.Version + "/" + f.FullVersion
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
