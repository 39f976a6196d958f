package postgres_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

// TestRejoinOfWhatFollowed has a node rejoin that was no primary: one that was killed while it followed, and one that
// has ended, as where the keeper's record is lost that told the two apart. Nothing is logged with its data: that would
// lie where the primary, on the same timeline, has something else.
func TestRejoinOfWhatFollowed(t *testing.T) {
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	b := server{p.Primary()}.bind(t)
	for _, end := range []func(testing.TB){p.KillStandby, p.EndStandby} {
		b.connect(t).do(t, `CREATE TABLE IF NOT EXISTS logged (n int)`, `INSERT INTO logged VALUES (1)`)
		end(t)
		wantRejoined(t, p)
		p.Protect(t)
		b.connect(t).do(t, `INSERT INTO logged VALUES (1)`)
		p.Release(t)
	}
	p.Protect(t)
	p.KillPrimary(t)
	p.FailOver(t)
	server{p.Primary()}.bind(t).connect(t).want(t, `SELECT count(*) FROM logged`, "4")
}

// TestRejoinOfWhatWasStarted has a node rejoin that was the primary, and was started by somebody since it was fenced.
func TestRejoinOfWhatWasStarted(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	p.KillPrimary(t)
	p.FailOver(t)
	p.RestartStandby(t)
	p.KillStandby(t)
	wantRejoined(t, p)
}

// wantRejoined has the standby rejoin without a copy.
func wantRejoined(t *testing.T, p *enginetest.Pair) {
	t.Helper()
	if err := p.Replicator.Rejoin(t.Context(), p.Primary(), p.Standby()); err != nil {
		t.Fatalf("Rejoin: %v", err)
	}
	p.StartStandby(t)
}

// TestRejoinOfADamagedLog has a primary's log end long before that which the other node has of it. What a server logs
// that replays it lies where the log of the other goes on.
func TestRejoinOfADamagedLog(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	p.Protect(t)
	b := server{p.Primary()}.bind(t)
	b.connect(t).do(t, `CREATE TABLE logged AS SELECT generate_series(1, 20000) AS n`)
	admin := b.admin(t)
	var damaged string
	row := admin.QueryRow(t.Context(), `SELECT pg_walfile_name(pg_current_wal_flush_lsn())`)
	if err := row.Scan(&damaged); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		admin.do(t, `SELECT pg_switch_wal()`)
		b.connect(t).do(t, `INSERT INTO logged VALUES (0)`)
	}
	p.KillPrimary(t)
	cutLog(t, filepath.Join(p.Primary().DataDir, "pg_wal", damaged))
	p.FailOver(t)
	if err := p.Replicator.Rejoin(t.Context(), p.Primary(), p.Standby()); !errors.Is(err, engine.ErrCopy) {
		t.Errorf("Rejoin: %v, want that it takes a copy", err)
	}
	p.Copy(t)
	server{p.Primary()}.bind(t).connect(t).want(t, `SELECT count(*) FROM logged`, "20003")
}

// cutLog takes the last pages from a segment in which something was logged.
func cutLog(t *testing.T, segment string) {
	t.Helper()
	text, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	const page = 8192
	end := (len(bytes.TrimRight(text, "\x00"))/page - 10) * page
	if end <= 0 {
		t.Fatalf("there is too little in %s", segment)
	}
	clear(text[end:])
	if err := os.WriteFile(segment, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
