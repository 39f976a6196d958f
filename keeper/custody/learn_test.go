package custody_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/keeper/custody"
)

// TestGapsAreLearned: a keeper without records tells how far an archive reaches beyond its last backup, and of its gaps,
// and restores nothing behind them, whether it was told of the backups or finds them when they are asked for.
func TestGapsAreLearned(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]engine.Engine{"postgres": postgres.Engine{}, "mysql": mysql.Engine{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lostRecords{T: t, name: name, archiver: e.(engine.Archiver), repository: enginetest.NewRepository(t)}
			last, late := l.leave(e)
			o := backend.Origin{Instance: l.id(), Key: l.repository.Key, At: late}

			c := l.custody(e)
			l.wantBehindGap(c, o)
			left := backend.Legacy{Instance: l.id(), Engine: name, Version: "any", Policy: backend.BackupPolicy{Key: o.Key}}
			if err := c.Learn(t.Context(), left); err != nil {
				t.Fatal(err)
			}
			l.wantBehindGap(c, o)
			kept, err := c.Backups(l.id())
			second := late.Truncate(time.Second) // by which a binary log is known
			if err != nil || len(kept.Gaps) != 1 || kept.Gaps[0].From.After(late) || kept.Gaps[0].Until.Before(second) {
				t.Errorf("it tells of %+v, %v, want a gap that holds %v", kept, err, late)
			}
			if reached := last.Truncate(time.Second); kept.Latest.Before(reached) || !kept.Latest.Before(late) {
				t.Errorf("what can be restored ends at %v, want from %v on, and before %v", kept.Latest, reached, late)
			}
			o.At = kept.Latest
			if p, err := c.Reach(t.Context(), o); err != nil || !p.Point.Until.Equal(o.At) {
				t.Errorf("%v is reached by %+v, %v", o.At, p.Point, err)
			}
		})
	}
}

// lostRecords is an instance of which there is nothing but a repository.
type lostRecords struct {
	*testing.T
	name       string
	archiver   engine.Archiver
	repository backstay.Repository
}

func (l lostRecords) id() backstay.InstanceID { return backstay.InstanceID(l.repository.Part) }

// leave has a node archive until a moment, and another one take up its archive without a backup before a later one.
func (l lostRecords) leave(e engine.Engine) (last, late time.Time) {
	first := enginetest.NewNode(l, e)
	p := enginetest.Serve(l.T, e, first)
	if _, err := l.archiver.Backup(l.Context(), first, l.repository, false); err != nil {
		l.Fatal(err)
	}
	time.Sleep(2 * time.Second) // the archive is to reach beyond the second of the backup
	last = time.Now()
	l.write(e, first)
	time.Sleep(time.Second) // a binary log is known by the second in which it was begun
	l.archive(first, func(engine.Archived) bool {
		a, err := l.archiver.Reached(l.Context(), first, l.repository)
		return err == nil && a.Until.After(last)
	})
	p.Stop(l.T)
	time.Sleep(2 * time.Second)
	second := enginetest.NewNode(l, e)
	enginetest.Serve(l.T, e, second)
	l.write(e, second)
	late = time.Now()
	l.archive(second, func(a engine.Archived) bool { return len(a.Gaps) > 0 })
	return last, late
}

// write commits something that is logged. Users of MariaDB are not.
func (l lostRecords) write(e engine.Engine, n engine.Node) {
	l.Helper()
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	var err error
	if l.name == "mysql" {
		cfg := driver.NewConfig()
		cfg.Net, cfg.User = "unix", n.Admin.User
		cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Admin.Dial(ctx) }
		var c sqldriver.Connector
		if c, err = driver.NewConnector(cfg); err == nil {
			db := sql.OpenDB(c)
			_, err = db.ExecContext(l.Context(), "CREATE DATABASE d"+id)
			err = errors.Join(err, db.Close())
		}
	} else {
		_, err = e.CreateUser(l.Context(), n, engine.User{Name: "u" + id[:15], Password: backstay.Secret("p" + id)})
	}
	if err != nil {
		l.Fatal(err)
	}
}

func (l lostRecords) archive(n engine.Node, done func(engine.Archived) bool) {
	l.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		a, err := l.archiver.Archive(l.Context(), n, l.repository, 0, time.Time{})
		if err != nil || time.Now().After(deadline) {
			l.Fatalf("after a minute: %+v, %v", a, err)
		}
		if done(a) {
			return
		}
	}
}

// custody is one that knows of nothing.
func (l lostRecords) custody(e engine.Engine) *custody.Custody {
	l.Helper()
	c := &custody.Custody{
		Dir: l.TempDir(), Repository: backstay.Repository{Dir: l.repository.Dir}, Log: slog.New(slog.DiscardHandler),
		Engines: map[string]engine.Engine{l.name: e}, Now: time.Now,
		Newest: func(ctx context.Context, _ string) ([]engine.Installation, error) { return e.Installations(ctx) },
	}
	if err := c.Load(); err != nil {
		l.Fatal(err)
	}
	return c
}

func (l lostRecords) wantBehindGap(c *custody.Custody, o backend.Origin) {
	l.Helper()
	p, err := c.Reach(l.Context(), o)
	if backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), "cannot be restored") {
		l.Errorf("%v is reached by %+v, %v", o.At, p.Point, err)
	}
}
