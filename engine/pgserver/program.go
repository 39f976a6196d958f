package pgserver

import (
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// InitdbArguments ask for checksums, so that a failing disk is noticed before its errors get into backups, and for no
// syncing, since a directory that is not finished is thrown away. The locale is ICU's; it is empty for C.UTF-8.
func InitdbArguments(locale string) []string {
	arguments := []string{"--username=" + Admin, "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
		"--auth=reject", "--no-sync", "--no-instructions"}
	if locale != "" {
		arguments = append(arguments, "--locale-provider=icu", "--icu-locale="+locale)
	}
	return arguments
}

// SingleUser are the arguments of a server in single-user mode, whose statements come by standard input.
func SingleUser(data, database string) []string {
	return []string{
		"--single", "-j", "-D", data, "-c", "exit_on_error=on", "-c", "fsync=off", "-c", "wal_recycle=off",
		"-c", "log_min_error_statement=panic", database,
	}
}

// LastLine returns the last line of what a program of PostgreSQL's said: there it says why it failed.
func LastLine(said string) string {
	said = strings.TrimSpace(said)
	return said[strings.LastIndexByte(said, '\n')+1:]
}

// refused matches a line in which a server refuses a statement, or to start.
var refused = regexp.MustCompile(`(?m)^.*\b(?:ERROR|FATAL|PANIC):  (.*)$`)

// Refusal returns the first line of what programs of PostgreSQL have said in which a server refuses a statement, or to
// start; without one, their last line.
func Refusal(said string) string {
	if match := refused.FindStringSubmatch(said); match != nil {
		return match[1]
	}
	return LastLine(said)
}

// Converting configures the servers that run while data is converted: nobody but the programs reaches them, and a power
// failure ends with the data that was there before.
const Converting = `max_connections = 20
max_locks_per_transaction = 8192
fsync = off
full_page_writes = off
jit = off
autovacuum = off
shared_buffers = 64MB
`

// openDoor lets whoever can use the socket in, which is in a directory of the programs' own.
const openDoor = "local all all trust\n"

// ConvertingFiles are those that configure such a server.
func ConvertingFiles() map[string]string {
	return map[string]string{
		ServerFile: Converting, "postgresql.auto.conf": "", "pg_hba.conf": openDoor, "pg_ident.conf": "",
	}
}

// Ending asks for a fast shutdown: transactions are rolled back, clients are disconnected, and the changed pages of
// the shared buffers, of that size, are written. SIGTERM would wait for every client to leave.
//
// A server that archives begins another segment of its log for that. Where the disk has no room for it, the server
// would panic, and could not start again before there is: it is ended at once instead, and recovers as after a crash
// from the segment that it has.
func Ending(n engine.Node, buffers backstay.Bytes) engine.Ending {
	if !engine.HasRoom(n.DataDir, 2*SegmentSize) {
		return engine.Ending{Signal: syscall.SIGQUIT, Grace: 20 * time.Second}
	}
	return engine.Ending{Signal: syscall.SIGINT, Grace: 20*time.Second + engine.Flushing(buffers)}
}
