package postgres

import "testing"

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
