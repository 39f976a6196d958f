package mysql

import (
	"context"
	"database/sql"
	"regexp"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// dialect is what differs between the servers that speak MySQL.
type dialect struct {
	product   string         // as users know it
	program   string         // the server, in the installation's directory
	companion string         // a program that it cannot do without, beside that directory; "": none
	reported  *regexp.Regexp // its version, in what --version prints
	files     []string       // patterns of what else of an installation it takes, below its base directory

	section  string                       // of the configuration that it reads
	settings func(engine.Node) []setting  // beyond those that all know
	validate []string                     // arguments with which it reads the configuration, and no data
	start    func(operator string) string // SQL that it runs at each start, before anyone is let in

	recipe string // what the contents of a golden directory depend on
	// build makes a golden directory; zones is SQL that fills the tables of time zones.
	build  func(w *datadir.Workshop, i engine.Installation, zones string) error
	madeBy func(data string) (version string, err error) // of a data directory
	// upgrade is the program, beside the installation's directory, that brings data of an earlier version up to date
	// and notes the version; "": the server does, and notes are the files that say so.
	upgrade string
	notes   func(i engine.Installation) map[string]string

	identified func(engine.User) string // the part of CREATE USER after the name
	// holds keeps a read-only user from changing its password.
	holds    func(context.Context, *sql.Conn, engine.User) error
	reads    func(who string) []string // grants that mysqldump needs to read routines
	locked   string                    // query for the accounts whose bindings have ended
	definers string                    // query for the accounts that define something in the database
	kill     string                    // statement that ends a session, without the session's number
	renewTLS string                    // statement that has the server read its certificate again
	issued   bool                      // which it does only where it knows who has issued it
	// checkpoint is a statement that writes all changed pages and returns when they are written; "": there is none.
	checkpoint string

	zones        []string                     // program, with arguments, that writes a directory of time zones as SQL
	replaceZones func(rows []string) []string // statements that replace all time zones by these rows

	logged *regexp.Regexp // a line of its log: thread, level, text
	begins string         // text of the line with which it begins
}

// proves tells whether a node's server is told who has issued its certificate.
func (d dialect) proves(n engine.Node) bool {
	return d.issued && n.TLS.Authority != "" && len(n.Port(engine.ClientPort).Listen) > 0
}

var dialects = []dialect{mariadb, oracle}

// dialectOf returns the dialect of an installation. Installations that were recorded by versions that knew MariaDB
// alone name no product.
func dialectOf(i engine.Installation) dialect {
	for _, d := range dialects {
		if d.product == i.Product {
			return d
		}
	}
	return mariadb
}
