package postgres

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

const (
	// reserve is kept free of clients, so that the administrator always gets in.
	reserve = 5

	rulesFile       = "pg_hba.conf"
	certificateFile = "server.crt"
	keyFile         = "server.key"
)

// configFiles returns the files that configure the node, keyed by their name in the data directory.
func configFiles(n engine.Node, chosen settings) (map[string]string, error) {
	server, err := serverConfig(n, chosen)
	if err != nil {
		return nil, err
	}
	ident, err := pgserver.IdentMap(n.Operator)
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		pgserver.ServerFile: server, "pg_ident.conf": ident, rulesFile: accessRules(n, shutOutOf(n)),
	}
	if len(n.Port(engine.ClientPort).Listen) > 0 {
		files[certificateFile] = n.TLS.Leaf
		files[keyFile] = n.TLS.Key.Reveal()
	}
	return files, nil
}

// setting is one line of postgresql.conf.
type setting struct{ name, value string }

func serverConfig(n engine.Node, chosen settings) (string, error) {
	var b strings.Builder
	b.WriteString("# Written at each start by Backstay: changes made here do not last.\n")
	all := [][]setting{network(n), memory(n.Size), durability(n.Size), compression(n.Installation),
		archiving(n), logging(),
		extensions(n.Installation, chosen), tuningLines(n.Installation, chosen.chosen), writing(n)} // a later line counts
	for _, group := range all {
		for _, s := range group {
			value, err := pgserver.QuoteSetting(s.value)
			if err != nil {
				return "", fmt.Errorf("setting %s: %w", s.name, err)
			}
			fmt.Fprintf(&b, "%s = %s\n", s.name, value)
		}
	}
	return b.String(), nil
}

func network(n engine.Node) []setting {
	clients := n.Port(engine.ClientPort)
	group := []setting{
		{"listen_addresses", pgserver.QuoteList(clients.Listen)},
		{"port", strconv.Itoa(cmp.Or(clients.Number, pgserver.DefaultPort))},
		{"unix_socket_directories", pgserver.QuoteList([]string{n.RunDir})},
		{"unix_socket_permissions", "0700"},
		{"max_connections", strconv.Itoa(n.Size.Connections + reserve)},
		{"superuser_reserved_connections", strconv.Itoa(reserve)},
		{"max_locks_per_transaction", strconv.Itoa(locksPerTransaction(n.Size))},
		{"password_encryption", "scram-sha-256"},
		// A client that has connected and does not log in keeps a process busy.
		{"authentication_timeout", "20s"},
		{"cluster_name", string(n.Instance)},
	}
	if len(clients.Listen) == 0 {
		return append(group, setting{"ssl", "off"})
	}
	return append(group, setting{"ssl", "on"}, setting{"ssl_min_protocol_version", "TLSv1.2"},
		setting{"ssl_cert_file", certificateFile}, setting{"ssl_key_file", keyFile})
}

// memory divides the plan's memory among the server's caches and its sessions. PostgreSQL takes shared memory from the
// machine only when it uses it, so an idle node costs little whatever its plan.
func memory(s backstay.Size) []setting {
	each := s.Memory / 4 / backstay.Bytes(max(s.Connections, 1))
	return []setting{
		{"shared_buffers", pgserver.Kilobytes(sharedBuffers(s))},
		{"effective_cache_size", pgserver.Kilobytes(pgserver.Clamp(s.Memory*3/4, 16*backstay.MB, backstay.TB))},
		{"work_mem", pgserver.Kilobytes(pgserver.Clamp(each, 4*backstay.MB, 64*backstay.MB))},
		{"maintenance_work_mem", pgserver.Kilobytes(pgserver.Clamp(s.Memory/16, 16*backstay.MB, backstay.GB))},
		{"dynamic_shared_memory_type", "posix"},
		// The compiler takes 20 MB in each session that uses it.
		{"jit", "off"},
	}
}

// locksPerTransaction gives the table of locks, which all sessions share, a size that a dump of many thousands of
// tables finds room in. The server multiplies it by the number of sessions. Half of a table's 400 bytes for each lock
// is taken from the machine at the start, so it stays below a hundredth of the plan's memory.
func locksPerTransaction(s backstay.Size) int {
	const most = 65536
	return max(64, int(min(s.Memory/(32*backstay.KB), most))/(s.Connections+reserve))
}

// sharedBuffers is the size of the cache of pages. Changed pages in it are written before the server ends.
func sharedBuffers(s backstay.Size) backstay.Bytes {
	return pgserver.Clamp(s.Memory/8, 16*backstay.MB, 4*backstay.GB)
}

// durability keeps what a client was told is committed, whatever ends the server or the machine.
func durability(s backstay.Size) []setting {
	return []setting{
		{"fsync", "on"},
		{"full_page_writes", "on"},
		{"synchronous_commit", "on"},
		{"wal_level", "replica"},
		{"autovacuum", "on"},
		{"min_wal_size", "32MB"},
		{"max_wal_size", pgserver.Kilobytes(pgserver.Clamp(s.Storage/10, 64*backstay.MB, 4*backstay.GB))},
		{"timezone", "UTC"},
	}
}

// compression has the server compress the whole pages that it logs behind each checkpoint, as backups begin with one:
// they are most of what is archived. PostgreSQL's own algorithm costs more than it saves where commits wait for it.
func compression(i engine.Installation) []setting {
	const since = "15" // servers know of lz4, if they were built with it
	if engine.CompareVersions(i.Version, since) < 0 || !pgserver.CompressesLog(i.Dir) {
		return nil
	}
	return []setting{{"wal_compression", "lz4"}}
}

// archiving lets backups follow what the server logs, once somebody archives that. It would take a restart to begin
// with it later.
func archiving(n engine.Node) []setting {
	return []setting{{"archive_mode", "on"}, {"archive_command", pgserver.ArchiveCommand(n)}}
}

// logging has the server log to standard error, whose file the keeper keeps within bounds. Statements are never
// logged, nor details, hints and contexts, which quote statements: one may hold a password, if only in a mistyped
// ALTER ROLE.
func logging() []setting {
	return []setting{
		{"logging_collector", "off"},
		{"log_destination", "stderr"},
		{"log_timezone", "UTC"},
		{"log_line_prefix", "%m [%p] %q%u@%d "}, // explain reads it
		{"log_statement", "none"},
		{"log_min_error_statement", "panic"},
		{"log_min_duration_statement", "-1"},
		{"log_error_verbosity", "terse"},
	}
}

// extensions has the server load the library that lets tenants create extensions, and that of the one which counts what
// statements take, also where that is disabled: only a restart could load it again. They are left out where they are
// not installed: a server that is told to load one would not start.
func extensions(i engine.Installation, chosen settings) []setting {
	var libraries []string
	var group []setting
	if hasLibrary(i, "pgextwlist") {
		libraries = append(libraries, "pgextwlist")
		group = append(group, setting{"extwlist.extensions", pgserver.QuoteList(chosen.Extensions)})
	}
	if slices.Contains(chosen.offered, statistics) && hasLibrary(i, statistics) {
		libraries = append(libraries, statistics)
		// Other statements than queries are not kept: ALTER ROLE has passwords in it.
		group = append(group, setting{statistics + ".track_utility", "off"}, setting{statistics + ".max", "1000"})
	}
	return append(group, setting{"shared_preload_libraries", pgserver.QuoteList(libraries)})
}

func hasLibrary(i engine.Installation, name string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(i.Dir), "lib", name+".so"))
	return err == nil
}

// accessRules returns pg_hba.conf. The first rule that fits a connection decides about it; a connection that no rule
// fits is refused. Whoever there is no role of any more is asked for a password as all others are, so that they read
// of a failed login and not of this file. Of the roles that there are, only those of bindings have a password and may
// log in, unless they are shut out.
func accessRules(n engine.Node, out shutOut) string {
	rules := "local all " + admin + " peer map=operator\n"
	if len(n.Port(engine.ClientPort).Listen) > 0 {
		rules += "hostnossl all all all reject\n" +
			"hostssl all " + admin + " all reject\n"
		for _, role := range out.roles {
			rules += refusing(role)
		}
		if out.everybody {
			rules += refusingAll
		}
		rules += "hostssl " + database + " all all scram-sha-256\n"
	}
	if n.Replication != nil {
		rules += pgserver.LinkRule
	}
	return rules
}

// Bounds adds to the plan's memory a quarter, and what the processes of the server have for themselves: its sessions
// keep to work_mem in each step of a query only, and remember what they have seen of the catalog. A connection is a
// process before it is known who asks for it, so there are more of them than sessions.
func (Engine) Bounds(n engine.Node) engine.Bounds {
	return engine.Bounds{Memory: n.Size.Memory + n.Size.Memory/4 + 128*backstay.MB,
		Processes: n.Size.Connections + reserve + 100}
}
