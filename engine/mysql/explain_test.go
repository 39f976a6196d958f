package mysql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/engine"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	const (
		starting = "2026-11-23 18:01:28 0 [Note] Starting MariaDB 10.11.19-MariaDB-0+deb12u1 source revision 5843d84 as process 7\n"
		ready    = "2026-11-23 18:01:28 0 [Note] /usr/sbin/mariadbd: ready for connections.\n"
		bind     = "2026-11-23  9:01:28 0 [ERROR] Can't start server: Bind on TCP/IP port. Got error: 98: Address already in use\n"
		again    = "2026-11-23  9:01:28 0 [ERROR] Do you already have another server running on port: 20000 ?\n"
		aborting = "2026-11-23  9:01:28 0 [ERROR] Aborting\n"
		event    = "2026-11-23 18:01:29 9 [ERROR] Event Scheduler: [u@%][main.e] Table 'main.t' doesn't exist\n"
		full     = "2026-11-23 18:01:29 0 [ERROR] [FATAL] InnoDB: innodb_fatal_semaphore_wait_threshold was exceeded\n"
	)
	const busy = "Can't start server: Bind on TCP/IP port. Got error: 98: Address already in use"
	const (
		oracleStarting = "2026-11-24T02:13:10.154294Z 0 [System] [MY-015015] [Server] MySQL Server - start.\n"
		oracleReady    = "2026-11-24T02:13:10.516508Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections. Version: '9.7.4-2'  socket: '/tmp/s'  port: 0  (Debian).\n"
		oracleBind     = "2026-11-24T02:13:10.482485Z 0 [ERROR] [MY-010262] [Server] Can't start server: Bind on TCP/IP port: Address already in use\n"
		oracleEvent    = "2026-11-24T02:13:11.482485Z 9 [ERROR] [MY-010045] [Server] Event Scheduler: [u@%][main.e] Table 'main.t' doesn't exist\n"
	)
	for _, tc := range []struct{ name, log, want string }{
		{"MySQL's port taken", oracleStarting + oracleBind + oracleEvent,
			"Can't start server: Bind on TCP/IP port: Address already in use"},
		{"and then MySQL serves", oracleStarting + oracleBind + oracleStarting + oracleReady, ""},
		{"an event of a client's fails in MySQL", oracleStarting + oracleReady + oracleEvent, ""},
		{"the loader cannot, for MySQL", "/usr/sbin/mysqld: error while loading shared libraries: libx.so: cannot open\n",
			"mysqld: error while loading shared libraries: libx.so: cannot open"},
		{"nothing", "", ""},
		{"port taken", starting + bind + again + aborting, busy},
		{"and then it serves", starting + bind + again + aborting + starting + ready, ""},
		{"and then it starts", starting + bind + again + aborting + starting, ""},
		{"an event of a client's fails", starting + ready + event, ""},
		{"it gives up", starting + ready + full + aborting,
			"[FATAL] InnoDB: innodb_fatal_semaphore_wait_threshold was exceeded"},
		{"a line without an end", starting + strings.TrimSuffix(bind, "\n"), busy},
		{"a long line", starting + strings.Repeat("x", 100_000) + "\n" + bind, busy},
		{"the program cannot run", "/bin/sh: 1: exec: /usr/sbin/mariadbd: not found\n", "mariadbd: not found"},
		{"the loader cannot", "/usr/sbin/mariadbd: error while loading shared libraries: libx.so: cannot open\n",
			"mariadbd: error while loading shared libraries: libx.so: cannot open"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := engine.Node{LogFile: filepath.Join(t.TempDir(), "engine.log")}
			if strings.Contains(tc.name, "MySQL") {
				n.Installation.Product = "MySQL"
			}
			if err := os.WriteFile(n.LogFile, []byte(tc.log), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := (Engine{}).Explain(n); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
