package mysql

import "testing"

func TestCopierComplaint(t *testing.T) {
	t.Parallel()
	const (
		copying  = "[00] 2026-11-27 19:58:26 >> log scanned up to (47391)\n"
		shutdown = "2026-11-27 19:58:27 0 [Note] InnoDB: Starting shutdown...\n"
	)
	for _, tc := range []struct{ name, said, want string }{
		{"nothing", "", ""},
		{"no complaint", copying + shutdown, "[Note] InnoDB: Starting shutdown..."},
		{"a fatal error", copying + "[00] FATAL ERROR: 2026-11-27 19:58:27 failed to execute query FLUSH\n" + shutdown,
			"failed to execute query FLUSH"},
		{"the server's own words", "2026-11-27  9:58:27 0 [ERROR] InnoDB: Unable to lock ./ibdata1\n" + shutdown,
			"InnoDB: Unable to lock ./ibdata1"},
		{"an error and what follows of it", "[01] mariabackup: Error: cannot read t.ibd\n" +
			"[00] FATAL ERROR: 2026-11-27 19:58:27 Aborting\n", "cannot read t.ibd"},
		{"a full disk", copying + "mariadb-backup: Error writing file '/t/mysql/help_topic.MAD' " +
			"(errno: 28 \"No space left on device\")\n[00] 2026-11-29 03:36:38 Aria data files backup process is finished with error\n" + shutdown,
			`Error writing file '/t/mysql/help_topic.MAD' (errno: 28 "No space left on device")`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := copierComplaint(tc.said); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
