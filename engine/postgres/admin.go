package postgres

import (
	"cmp"
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// AdminDSN returns the address of a node's database for its administrator: the Unix socket in runDir. Port 0 is for a
// node that does not listen for clients.
func AdminDSN(runDir string, port int) string {
	port = cmp.Or(port, pgserver.DefaultPort)
	query := url.Values{"host": {runDir}, "port": {strconv.Itoa(port)}, "user": {admin}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + query.Encode()
}

// LocalAdmin is the Unix socket in RunDir. The server learns from the operating system that the operator has
// connected.
func (Engine) LocalAdmin(n engine.Node) engine.Admin {
	a := engine.SocketAdmin(n, socket(n), admin)
	a.Mark = func() (string, error) { return logMark(n.DataDir) }
	return a
}

func socket(n engine.Node) string { return pgserver.Socket(n.RunDir, n.Port(engine.ClientPort).Number) }

// withAdmin calls do with an administrator's connection to the running node.
func withAdmin(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	return pgserver.WithAdmin(ctx, n, database, do)
}

// Probe connects as the administrator. The server lets clients in whenever it lets the administrator in. It is Busy
// where clients hold so many locks that there is no room for those that a login takes: they can hold them for ever,
// and nobody can get in to end their sessions.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	err := withAdmin(ctx, n, func(*pgx.Conn) error { return nil })
	if pgserver.IsOutOfLocks(err) {
		return backstay.Wrapf(err, backstay.Busy, "%s", backstay.SentenceOf(err))
	}
	return err
}

// quoteName writes a name as an identifier of SQL, whatever is in it.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteText writes a text as a string literal of SQL that means the same under every setting of the server.
func quoteText(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
