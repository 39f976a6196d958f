package pgserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// TestToolThatDoesNotKnowTheServer: nothing is promised of a server that the pgBackRest beside it cannot back up, until
// another one takes its place.
func TestToolThatDoesNotKnowTheServer(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	tool := filepath.Join(root, "bin", "pgbackrest")
	s := Server{Product: "PostgreSQL 17", Version: "17", Programs: filepath.Join(root, "lib/postgresql/17/bin")}
	for _, dir := range []string{filepath.Dir(tool), s.Programs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		says, version string
		lacks         string // a part of it
	}{
		{"pgBackRest 2.45", "17", "is pgBackRest 2.45, which does not know PostgreSQL 17: it takes release 2.53.1 or a later one"},
		{"pgBackRest 2.45", "15", ""},
		{"pgBackRest 2.60.0", "17", ""},
		{"pgBackRest 2.60.0", "18", ""},
		{"pgBackRest 2.60.0", "99", "it is not known which pgBackRest knows PostgreSQL 99"},
		{"something else", "17", "pgBackRest is not installed"},
	} {
		install(t, tool, tc.says)
		s.Version = tc.version
		lacks := s.LacksForBackups()
		if !strings.Contains(lacks, tc.lacks) || (lacks == "") != (tc.lacks == "") {
			t.Errorf("beside %s, PostgreSQL %s lacks %q, want %q", tc.says, tc.version, lacks, tc.lacks)
		}
		want := backstay.AnySecond
		if tc.lacks != "" {
			want = backstay.NoRestorePoints
		}
		if got := s.RestorePoints(); got != want {
			t.Errorf("beside %s, PostgreSQL %s has %q, want %q", tc.says, tc.version, got, want)
		}
	}
}

// install puts a program there that says what it is, as a package does: under another name first.
func install(t *testing.T, path, says string) {
	t.Helper()
	part := path + ".part"
	script := []byte("#!/bin/sh\necho '" + says + "'\n")
	if err := os.WriteFile(part, script, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, path); err != nil {
		t.Fatal(err)
	}
}
