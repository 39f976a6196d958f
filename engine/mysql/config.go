package mysql

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
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
)

const (
	socketName = "mysql.sock" // in the node's RunDir

	// reserve is kept free of any one account's sessions, so that the administrator gets in. The
	// server keeps one more for the administrator alone.
	reserve = 5

	charset   = "utf8mb4"
	collation = "utf8mb4_general_ci"
)

// configFiles renders all that n wants to be read from its data directory.
func configFiles(n engine.Node) (map[string]string, error) {
	server, err := serverConfig(n)
	if err != nil {
		return nil, err
	}
	start, err := startSQL(n.Operator)
	if err != nil {
		return nil, err
	}
	files := map[string]string{configFile: server, startFile: start}
	if len(n.Listen) > 0 {
		files[certificateFile] = n.TLS.Leaf
		files[keyFile] = n.TLS.Key.Reveal()
	}
	return files, nil
}

// setting is one line of my.cnf.
type setting struct{ name, value string }

func serverConfig(n engine.Node) (string, error) {
	for _, address := range n.Listen {
		if _, err := netip.ParseAddr(address); err != nil { // the server would look it up
			return "", fmt.Errorf("listen address: %w", err)
		}
	}
	var b strings.Builder
	b.WriteString("# Written at each start by Backstay: changes made here do not last.\n[mariadbd]\n")
	for _, group := range [][]setting{files(n), network(n), memory(n.Size), durability(n.Size), logging(), defaults()} {
		for _, s := range group {
			value, err := quoteSetting(s.value)
			if err != nil {
				return "", fmt.Errorf("setting %s: %w", s.name, err)
			}
			fmt.Fprintf(&b, "%s = %s\n", s.name, value)
		}
	}
	return b.String(), nil
}

func files(n engine.Node) []setting {
	return []setting{
		{"datadir", n.DataDir},
		{"tmpdir", filepath.Join(n.DataDir, tmpDir)},
		{"ignore_db_dirs", tmpDir},
		{"init_file", filepath.Join(n.DataDir, startFile)},
		{"pid_file", filepath.Join(n.DataDir, "mariadbd.pid")},
		{"socket", filepath.Join(n.RunDir, socketName)},
	}
}

func network(n engine.Node) []setting {
	group := []setting{
		{"max_connections", strconv.Itoa(n.Size.Connections + reserve)},
		{"max_user_connections", strconv.Itoa(n.Size.Connections)},
		{"max_allowed_packet", "256M"},
		// A client that does not get on with logging in holds a thread.
		{"connect_timeout", "20"},
		{"skip_name_resolve", "ON"},
		{"require_secure_transport", "ON"},
	}
	if len(n.Listen) == 0 {
		return append(group, setting{"skip_networking", "ON"})
	}
	return append(group, setting{"bind_address", strings.Join(n.Listen, ",")}, setting{"port", strconv.Itoa(n.Endpoint.Port)},
		setting{"tls_version", "TLSv1.2,TLSv1.3"},
		setting{"ssl_cert", filepath.Join(n.DataDir, certificateFile)}, setting{"ssl_key", filepath.Join(n.DataDir, keyFile)})
}

// memory divides what the plan gives. The server takes it from the machine only as it touches it, so
// a generous share costs an idle node nothing but its bookkeeping.
func memory(s backstay.Size) []setting {
	return []setting{
		{"innodb_buffer_pool_size", inBytes(clamp(s.Memory/2, 16*backstay.MB, backstay.TB))},
		{"innodb_log_buffer_size", inBytes(clamp(s.Memory/256, 2*backstay.MB, 16*backstay.MB))},
		{"aria_pagecache_buffer_size", inBytes(clamp(s.Memory/64, 2*backstay.MB, 128*backstay.MB))},
		{"key_buffer_size", inBytes(clamp(s.Memory/256, backstay.MB, 64*backstay.MB))},
		{"tmp_table_size", inBytes(clamp(s.Memory/32, 4*backstay.MB, 64*backstay.MB))},
		{"max_heap_table_size", inBytes(clamp(s.Memory/32, 4*backstay.MB, 64*backstay.MB))},
		{"table_open_cache", "1000"},
		{"host_cache_size", "0"},
		{"query_cache_type", "OFF"},
		{"query_cache_size", "0"},
		{"performance_schema", "OFF"},
	}
}

// durability: nothing that a client was told is committed may be lost.
func durability(s backstay.Size) []setting {
	return []setting{
		{"innodb_flush_log_at_trx_commit", "1"},
		{"innodb_doublewrite", "ON"},
		{"innodb_checksum_algorithm", "full_crc32"},
		{"innodb_log_file_size", inBytes(clamp(s.Storage/100, 16*backstay.MB, backstay.GB))},
		{"innodb_file_per_table", "ON"},
		{"default_storage_engine", "InnoDB"},
		{"skip_log_bin", "ON"},
	}
}

// logging goes to standard error, which the keeper keeps within bounds. No statement is ever logged:
// one may hold a password. That is also why the server is to say nothing when it crashes: it would
// say which statement it was at.
func logging() []setting {
	return []setting{
		{"log_output", "NONE"},
		{"general_log", "OFF"},
		{"slow_query_log", "OFF"},
		{"log_warnings", "1"},
		{"stack_trace", "OFF"},
	}
}

func defaults() []setting {
	return []setting{
		{"character_set_server", charset},
		{"collation_server", collation},
		{"default_time_zone", "+00:00"},
		{"event_scheduler", "ON"},
		{"symbolic_links", "OFF"},
	}
}

// accountName is what the operating system may call the operator.
var accountName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\+-]*\$?$`)

// startSQL is run at each start, before anyone is let in: the one account that comes in over the Unix
// socket is the operator's, who proves who it is by running as that user.
func startSQL(operator string) (string, error) {
	if !accountName.MatchString(operator) {
		return "", fmt.Errorf("operator %q: not the name of a user", operator)
	}
	account := quoteText(operator) + "@'localhost'"
	return "DELETE FROM mysql.global_priv WHERE Host = 'localhost' AND User <> 'mariadb.sys' AND User <> " + quoteText(operator) + ";\n" +
		"FLUSH PRIVILEGES;\n" +
		"CREATE OR REPLACE USER " + account + " IDENTIFIED VIA unix_socket;\n" +
		"GRANT ALL PRIVILEGES ON *.* TO " + account + " WITH GRANT OPTION;\n", nil
}

// quoteSetting writes a value of my.cnf. No setting of ours holds a control character, and a line feed
// would begin a setting of its own.
func quoteSetting(value string) (string, error) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("control character in value")
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`, nil
}

func clamp(b, low, high backstay.Bytes) backstay.Bytes { return min(max(b, low), high) }

func inBytes(b backstay.Bytes) string { return strconv.FormatInt(int64(b), 10) }
