package postgres_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
)

// dial connects as an app does that trusts nobody but the authority in its credentials.
func dial(ctx context.Context, c backstay.Credentials) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprint(c["uri"]))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(fmt.Append(nil, c["ca_certificate"])) {
		return nil, errors.New("no certificate in the credentials")
	}
	cfg.TLSConfig = &tls.Config{RootCAs: trusted, ServerName: fmt.Sprint(c["host"])}
	cfg.Fallbacks = nil // to no TLS
	return pgx.ConnectConfig(ctx, cfg)
}
