package state

import (
	"context"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"
)

// OpenTraced opens a database whose schema is up to date, and tells of every statement.
func OpenTraced(t testing.TB, dsn string, tracer pgx.QueryTracer) *Store {
	t.Helper()
	cfg, err := configure(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.Tracer = tracer
	s, err := open(context.Background(), cfg, slog.New(slog.DiscardHandler), requireCurrent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
