package mongodb

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
)

// Files below the data directory.
const (
	rulesFile       = "pg_hba.conf"
	identFile       = "pg_ident.conf"
	frontFile       = "front.json"
	certificateFile = "server.crt"
	keyFile         = "server.key"
	versionFile     = "made_by_version" // of FerretDB, whose servers serve the data
)

// reserve is how many sessions PostgreSQL has for others than FerretDB: its administrator, the front, and DocumentDB's
// own, which it opens to build indexes.
const reserve = 30

// locksPerTransaction is what PostgreSQL has by itself. It is named for nodes that follow: see Server.AddLink.
const locksPerTransaction = 64

// writeBatch is how much a client may write at once by what FerretDB tells it. DocumentDB would refuse most of it.
const writeBatch = 100000

// setting is one line of postgresql.conf.
type setting struct{ name, value string }

// configFiles returns the contents of the files that Prepare writes, keyed by name.
func configFiles(n engine.Node) (map[string]string, error) {
	var b strings.Builder
	b.WriteString("# Written at each start by Backstay: changes made here do not last.\n")
	tuned, err := tuningLines(n)
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Concat(settingsOf(n), tuned, sparing(n)) { // a later line counts
		value, err := pgserver.QuoteSetting(s.value)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", s.name, err)
		}
		b.WriteString(s.name + " = " + value + "\n")
	}
	idents, err := pgserver.IdentMap(n.Operator)
	if err != nil {
		return nil, err
	}
	files := map[string]string{pgserver.ServerFile: b.String(), rulesFile: accessRules(n), identFile: idents,
		versionFile: n.Installation.Version + "\n"}
	if clients := n.Port(engine.ClientPort); len(clients.Listen) > 0 {
		files[certificateFile], files[keyFile] = n.TLS.Leaf, n.TLS.Key.Reveal()
		text, err := json.Marshal(frontConfig(n, clients))
		if err != nil {
			return nil, err
		}
		files[frontFile] = string(text) + "\n"
	}
	return files, nil
}

func frontConfig(n engine.Node, clients engine.Port) front.Config {
	c := front.Config{RunDir: n.RunDir, Connections: n.Size.Connections, Certificate: certificateFile, Key: keyFile}
	if n.Replication != nil {
		c.Followers = pgserver.LinkAuthority
	}
	c.Listen = addresses(clients)
	switch {
	case n.Closed:
		c.Refuses = front.Deleting
	case n.Full:
		c.Refuses = front.Growing
	}
	return c
}

func addresses(p engine.Port) (all []string) {
	for _, address := range p.Listen {
		all = append(all, net.JoinHostPort(address, strconv.Itoa(p.Number)))
	}
	return all
}

// accessRules returns pg_hba.conf. The socket is in a directory that only the node's own processes and the operator can
// enter. Bindings are no roles that it lets in. Who follows is let in by the front, which has seen a certificate.
func accessRules(n engine.Node) string {
	rules := "local all " + admin + " peer map=operator\n" +
		"local " + database + " writer,reader,front,documentdb_bg_worker_role trust\n"
	if n.Replication != nil {
		rules += "local replication " + admin + " trust\n"
	}
	return rules
}

func settingsOf(n engine.Node) []setting {
	s := n.Size
	group := []setting{
		{"listen_addresses", ""},
		{"unix_socket_directories", n.RunDir},
		{"unix_socket_permissions", "0700"},
		{"max_connections", strconv.Itoa(sessions(s))},
		{"superuser_reserved_connections", "5"},
		{"max_locks_per_transaction", strconv.Itoa(locksPerTransaction)},
		{"cluster_name", string(n.Instance)},
		// The front listens where it did when the node was started. PostgreSQL, which makes nothing of this, tells that a
		// restart is owed by it, as by all that it keeps itself:
		// docs/decisions/postgresql-remembers-where-the-front-listens.md.
		{"bonjour_name", strings.Join(addresses(n.Port(engine.ClientPort)), " ")},
		{"archive_mode", "on"}, // it would take a restart to begin with it later
		{"archive_command", pgserver.ArchiveCommand(n)},
		{"shared_preload_libraries", libraries},
		{"documentdb.localhost_connection_string", "host=" + n.RunDir},
		{"documentdb.maxWriteBatchSize", strconv.Itoa(writeBatch)},
		{"cron.database_name", database},
		{"cron.use_background_workers", "on"},
		{"cron.log_statement", "off"},
		{"cron.log_run", "off"},
		{"max_worker_processes", "16"},

		{"shared_buffers", pgserver.Kilobytes(sharedBuffers(s))},
		{"effective_cache_size", pgserver.Kilobytes(pgserver.Clamp(s.Memory*3/4, 16*backstay.MB, backstay.TB))},
		{"work_mem", pgserver.Kilobytes(pgserver.Clamp(s.Memory/4/backstay.Bytes(pool(s)), 4*backstay.MB, 64*backstay.MB))},
		{"maintenance_work_mem", pgserver.Kilobytes(pgserver.Clamp(s.Memory/16, 16*backstay.MB, backstay.GB))},
		{"jit", "off"}, // it takes 20 MB in each session

		{"fsync", "on"},
		{"full_page_writes", "on"},
		{"synchronous_commit", "on"},
		{"min_wal_size", "32MB"},
		{"max_wal_size", pgserver.Kilobytes(pgserver.Clamp(s.Storage/10, 64*backstay.MB, 4*backstay.GB))},
		{"timezone", "UTC"},

		// Statements are never logged, nor what quotes them: they hold what clients keep.
		{"logging_collector", "off"},
		{"log_destination", "stderr"},
		{"log_timezone", "UTC"},
		{"log_line_prefix", "%m [%p] %q%u@%d "}, // Explain reads it
		{"log_statement", "none"},
		{"log_min_error_statement", "panic"},
		{"log_min_duration_statement", "-1"},
		{"log_error_verbosity", "terse"},
		{"log_checkpoints", "off"},
	}
	if pgserver.CompressesLog(n.Installation.Dir) {
		group = append(group, setting{"wal_compression", "lz4"})
	}
	return group
}

// pool is how many sessions each FerretDB has with PostgreSQL at the most. A connection takes one only while it asks.
func pool(s backstay.Size) int { return min(max(s.Connections, 4), 50) }

// sessions is how many PostgreSQL has.
func sessions(s backstay.Size) int { return 2*pool(s) + reserve }

// sharedBuffers is the size of the cache of pages. Changed pages in it are written before the server ends.
func sharedBuffers(s backstay.Size) backstay.Bytes {
	return pgserver.Clamp(s.Memory/8, 16*backstay.MB, 4*backstay.GB)
}
