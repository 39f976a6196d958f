package mysql

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Files below the data directory.
const (
	configFile      = "my.cnf"
	startFile       = "start.sql"
	certificateFile = "server.crt"
	keyFile         = "server.key"
	authorityFile   = "authority.crt"
)

const (
	socketName = "mysql.sock" // in the node's RunDir
	pidName    = "server.pid" // in its DataDir

	// reserve is kept free of any one account's sessions, so that the administrator gets in. The
	// server keeps one more for the administrator alone.
	reserve = 5
)

const mb, gb, tb = backstay.MB, backstay.GB, backstay.TB

// configFiles returns the files that configure the node, keyed by their name in the data directory.
func configFiles(n engine.Node, chosen []engine.Chosen) (map[string]string, error) {
	server, err := serverConfig(n, chosen)
	if err != nil {
		return nil, err
	}
	if err := checkOperator(n.Operator); err != nil {
		return nil, err
	}
	files := map[string]string{configFile: server, startFile: dialectOf(n.Installation).start(n.Operator) + letFollow(n)}
	if len(n.Port(engine.ClientPort).Listen) > 0 {
		files[certificateFile] = n.TLS.Leaf
		files[keyFile] = n.TLS.Key.Reveal()
		if dialectOf(n.Installation).proves(n) {
			files[authorityFile] = n.TLS.Authority
		}
	}
	if follows(n) && n.TLS.Authority != "" {
		files[serverAuthority] = n.TLS.Authority
	}
	return files, nil
}

// setting is one line of my.cnf.
type setting struct{ name, value string }

func serverConfig(n engine.Node, chosen []engine.Chosen) (string, error) {
	d := dialectOf(n.Installation)
	var b strings.Builder
	b.WriteString("# Written at each start by Backstay: changes made here do not last.\n[" + d.section + "]\n")
	for _, s := range settings(n, chosen) {
		value, err := quoteSetting(s.value)
		if err != nil {
			return "", fmt.Errorf("setting %s: %w", s.name, err)
		}
		if s.value == "" { // a switch
			fmt.Fprintln(&b, s.name)
		} else {
			fmt.Fprintf(&b, "%s = %s\n", s.name, value)
		}
	}
	if n.Replication != nil { // the last word is the fence's, if there is one
		b.WriteString("!include " + filepath.Join(n.DataDir, fenceFile) + "\n")
	}
	return b.String(), nil
}

// settings returns all lines of the node's my.cnf.
func settings(n engine.Node, chosen []engine.Chosen) []setting {
	return tuned(slices.Concat(files(n), network(n), memory(n.Size), durability(), logging(), defaults(n), writing(n),
		dialectOf(n.Installation).settings(n)), chosen)
}

func files(n engine.Node) []setting {
	return []setting{
		{"datadir", n.DataDir},
		{"tmpdir", filepath.Join(n.DataDir, tmpDir)},
		{"init_file", filepath.Join(n.DataDir, startFile)},
		{"pid_file", filepath.Join(n.DataDir, pidName)},
		{"socket", filepath.Join(n.RunDir, socketName)},
	}
}

func network(n engine.Node) []setting {
	group := []setting{
		{"max_connections", strconv.Itoa(n.Size.Connections + reserve)},
		{"max_user_connections", strconv.Itoa(n.Size.Connections)},
		{"max_allowed_packet", "256M"},
		// A client that has connected and does not log in keeps a thread busy.
		{"connect_timeout", "20"},
		{"skip_name_resolve", "ON"},
		{"require_secure_transport", "ON"},
	}
	clients := n.Port(engine.ClientPort)
	if len(clients.Listen) == 0 {
		return append(group, setting{"skip_networking", "ON"})
	}
	return append(group, setting{"bind_address", strings.Join(clients.Listen, ",")},
		setting{"port", strconv.Itoa(clients.Number)},
		setting{"tls_version", "TLSv1.2,TLSv1.3"},
		setting{"ssl_cert", filepath.Join(n.DataDir, certificateFile)},
		setting{"ssl_key", filepath.Join(n.DataDir, keyFile)})
}

const logBuffer = "innodb_log_buffer_size"

// memory divides the plan's memory among the server's caches. The server takes memory from the machine only when it
// uses it, so an idle node costs little whatever its plan.
func memory(s backstay.Size) []setting {
	return []setting{
		{"innodb_buffer_pool_size", inBytes(bufferPool(s))},
		{logBuffer, inBytes(8 * mb)}, // of every plan: only a restart of MariaDB could change it
		{"key_buffer_size", inBytes(clamp(s.Memory/256, mb, 64*mb))},
		{"tmp_table_size", inBytes(clamp(s.Memory/32, 4*mb, 64*mb))},
		{"max_heap_table_size", inBytes(clamp(s.Memory/32, 4*mb, 64*mb))},
		{"table_open_cache", "1000"},
		{"host_cache_size", "0"},
		{"performance_schema", "OFF"},
	}
}

// bufferPool is the size of the cache of pages. Changed pages in it are written before the server ends.
func bufferPool(s backstay.Size) backstay.Bytes { return clamp(s.Memory/2, 16*mb, tb) }

// durability keeps what a client was told is committed, whatever ends the server or the machine.
func durability() []setting {
	return []setting{
		{"innodb_flush_log_at_trx_commit", "1"},
		{"innodb_doublewrite", "ON"},
		{"innodb_file_per_table", "ON"},
		{"default_storage_engine", "InnoDB"},
	}
}

// logging has the server log to standard error, whose file the keeper keeps within bounds. Statements are never
// logged: they may hold passwords.
func logging() []setting {
	return []setting{
		{"log_output", "NONE"},
		{"general_log", "OFF"},
		{"slow_query_log", "OFF"},
	}
}

func defaults(n engine.Node) []setting {
	return []setting{
		{"character_set_server", charset},
		{"default_time_zone", "+00:00"},
		{"event_scheduler", onOff(!follows(n))},
	}
}

// accountName matches the names that operating-system users have.
var accountName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\+-]*\$?$`)

func checkOperator(name string) error {
	if !accountName.MatchString(name) {
		return fmt.Errorf("operator %q: not the name of a user", name)
	}
	return nil
}

// quoteSetting writes a value as my.cnf takes it. A value with a control character is an error: a line feed in it
// would begin another setting.
func quoteSetting(value string) (string, error) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("control character in value")
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`, nil
}

// clamp returns b, or the nearer of low and high if b is not between them, in whole megabytes: a running server
// refuses other sizes for some of its caches.
func clamp(b, low, high backstay.Bytes) backstay.Bytes { return min(max(b, low), high) / mb * mb }

func inBytes(b backstay.Bytes) string { return strconv.FormatInt(int64(b), 10) }

// Bounds adds to the plan's memory a quarter, and what the server takes besides for itself. Each session is a thread.
func (Engine) Bounds(n engine.Node) engine.Bounds {
	return engine.Bounds{Memory: n.Size.Memory + n.Size.Memory/4 + 128*backstay.MB,
		Processes: n.Size.Connections + 200}
}
