package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// userName is what engine.User allows.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func checkUser(n engine.Node, name string) error {
	if !userName.MatchString(name) || slices.Contains([]string{n.Admin.User, "root", "mysql", "public", "none"}, name) {
		return backstay.Errorf(backstay.Invalid, "%q cannot be the name of a user.", name)
	}
	return nil
}

// account writes a binding's name as SQL takes it.
func account(name string) string { return quoteText(name) + "@'%'" }

// CreateUser makes an account with all rights on the database, or with those to read it, or gives an existing one
// these rights and this password.
func (Engine) CreateUser(ctx context.Context, n engine.Node, u engine.User) (backstay.Credentials, error) {
	if err := checkUser(n, u.Name); err != nil {
		return nil, err
	}
	who := account(u.Name)
	d := dialectOf(n.Installation)
	identified := who + " IDENTIFIED " + d.identified(u) + " REQUIRE SSL"
	err := withAccounts(ctx, n, func(conn *sql.Conn) error {
		err := run(ctx, conn, slices.Concat(
			[]string{"CREATE USER IF NOT EXISTS " + identified},
			rights(who, u.ReadOnly),
			d.reads(who), // or mysqldump leaves out what another has made
			[]string{"ALTER USER " + identified + " ACCOUNT UNLOCK"})...)
		if err != nil {
			return err
		}
		return d.holds(ctx, conn, u)
	})
	if err != nil {
		return nil, fmt.Errorf("create user %s: %w", u.Name, err)
	}
	return credentials(n, u), nil
}

// rights returns the statements that give an account its rights in the database. An account that may only read may
// run no routine, since that would run with the rights of who defined it, and lock no table, since that would hold up
// those who write.
func rights(who string, readOnly bool) []string {
	if readOnly {
		return []string{
			"REVOKE ALL PRIVILEGES, GRANT OPTION FROM " + who,
			"GRANT SELECT, SHOW VIEW ON `" + database + "`.* TO " + who,
		}
	}
	return []string{"GRANT ALL PRIVILEGES ON `" + database + "`.* TO " + who}
}

// DropUser locks an account and ends its sessions, whatever they are at. The account itself goes when nothing is left
// that runs with its rights: see removeUnneeded.
func (Engine) DropUser(ctx context.Context, n engine.Node, name string) error {
	if err := checkUser(n, name); err != nil {
		return err
	}
	d := dialectOf(n.Installation)
	err := withAccounts(ctx, n, func(conn *sql.Conn) error {
		there, err := column(ctx, conn, "SELECT User FROM mysql.user WHERE Host = '%' AND User = "+quoteText(name))
		if err != nil || len(there) == 0 {
			return err
		}
		if err := run(ctx, conn, "ALTER USER "+account(name)+" ACCOUNT LOCK"); err != nil {
			return err
		}
		own := ownTransactions(ctx, conn, name)
		if err := endSessions(ctx, conn, n, name); err != nil {
			return err
		}
		clearAway(ctx, conn, d, own)
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop user %s: %w", name, err)
	}
	return nil
}

// clearLimit is how long an unbinding waits for what may as well be done by the next.
const clearLimit = 5 * time.Second

// clearAway does away with what accounts that are gone have left behind: what they had prepared in transactions of
// their own, and themselves. What it cannot do now, for the locks or the numbers of what tenants have made, the next
// that goes has done: nobody can log in by it, and no session is left.
func clearAway(ctx context.Context, conn *sql.Conn, d dialect, own []string) {
	ctx, cancel := context.WithTimeout(ctx, clearLimit)
	defer cancel()
	endPrepared(ctx, conn, d, own)
	removeUnneeded(ctx, conn, d)
}

// credentials are what an app needs, with the keys of GOV.UK PaaS.
func credentials(n engine.Node, u engine.User) backstay.Credentials {
	host, password := n.Endpoint.Host, u.Password.Reveal()
	address := net.JoinHostPort(host, strconv.Itoa(n.Endpoint.Port))
	uri := url.URL{
		Scheme: "mysql", User: url.UserPassword(u.Name, password), Host: address, Path: "/" + database,
		RawQuery: "reconnect=true&useSSL=true",
	}
	query := "user=" + url.QueryEscape(u.Name) + "&password=" + url.QueryEscape(password) // in the guide's order
	return n.WithAuthority(backstay.Credentials{
		"host": host, "port": n.Endpoint.Port, "name": database, "username": u.Name, "password": password,
		"uri": uri.String(), "jdbcuri": "jdbc:mysql://" + address + "/" + database + "?" + query,
	})
}
