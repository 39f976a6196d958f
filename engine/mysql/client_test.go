package mysql_test

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"

	driver "github.com/go-sql-driver/mysql"

	"github.com/backstay/backstay"
)

// open connects as an app does that trusts nobody but the authority in its credentials.
func open(c backstay.Credentials) (*sql.DB, error) {
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(fmt.Append(nil, c["ca_certificate"])) {
		return nil, errors.New("no certificate in the credentials")
	}
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(fmt.Sprint(c["host"]), fmt.Sprint(c["port"]))
	cfg.User, cfg.Passwd, cfg.DBName = fmt.Sprint(c["username"]), fmt.Sprint(c["password"]), fmt.Sprint(c["name"])
	cfg.TLS = &tls.Config{RootCAs: trusted, ServerName: fmt.Sprint(c["host"])}
	cfg.InterpolateParams = true
	cfg.Logger = &driver.NopLogger{} // tests end sessions on purpose
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
