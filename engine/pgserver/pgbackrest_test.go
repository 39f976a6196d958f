package pgserver

import (
	"strings"
	"testing"
)

func TestFirstComplaint(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"WARN: an option is invalid\nERROR: [050]: unable to acquire lock on file '/l': no.\nHINT: wait": "unable to acquire " +
			"lock on file '/l': no",
		"ERROR: [057]: raised from remote-0 ssh protocol on 'node': unable to execute query 'select 1'": "unable to execute " +
			"query 'select 1'",
		"ERROR: [039]: raised from local-1 shim protocol: the page is damaged": "the page is damaged",
		"pgbackrest: not found.\n": "pgbackrest: not found",
	} {
		if got := firstComplaint(said); got != want {
			t.Errorf("of %q it is %q, want %q", said, got, want)
		}
	}
}

// TestToolHasPlacesOfItsOwn: by default the tool has its locks in a directory that all users of the machine share, and
// empties the spool of the distribution's own, at which nobody but its owner may look, whenever it restores.
func TestToolHasPlacesOfItsOwn(t *testing.T) {
	t.Parallel()
	tool := pgBackRest{dir: "/of/its/own"}
	text, err := tool.configuration()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nlock-path=/of/its/own/lock\n", "\nspool-path=/of/its/own/spool\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("it is told no%sbut%s", want, text)
		}
	}
}
