package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/datadir"
)

var (
	//go:embed before.sql
	beforeSQL string
	//go:embed note.sql
	noteSQL string
	//go:embed passage.sql
	passageSQL string
	//go:embed after.sql
	afterSQL string
	//go:embed revive.sql
	reviveSQL string
)

// MadeBy reads the file in which every server leaves its major version.
func (Engine) MadeBy(n engine.Node) (version string, err error) {
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	made, err := root.ReadFile("PG_VERSION")
	return strings.TrimSpace(string(made)), err
}

// CheckUpgrade has pg_upgrade look at the server that runs, and at data that the new version has made. Pg_upgrade reads
// catalogs only.
func (e Engine) CheckUpgrade(ctx context.Context, from, to engine.Node) error {
	if err := newer(from, to); err != nil {
		return err
	}
	if err := checkExtensions(ctx, from, to); err != nil {
		return err
	}
	c, err := conversion(ctx, from, to)
	if err != nil {
		return err
	}
	return c.blame(c.Try(ctx, func(w *datadir.Workshop) error {
		if err := clone.Room(from.DataDir, w.Dir); err != nil {
			return err
		}
		return c.rehearse(ctx, w)
	}))
}

func newer(from, to engine.Node) error {
	if engine.CompareVersions(to.Installation.Version, from.Installation.Version) < 0 {
		return backstay.Errorf(backstay.Unsupported, "The data was made by PostgreSQL %s and cannot be served by %s: "+
			"PostgreSQL has no way back to an earlier version.", from.Installation.Version, product(to.Installation))
	}
	return nil
}

// checkExtensions refuses, in words that tenants can act on, what pg_upgrade would refuse with the name of a library,
// or what Upgrade would have to leave as it is.
func checkExtensions(ctx context.Context, from, to engine.Node) error {
	return withAdmin(ctx, from, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT extname FROM pg_extension ORDER BY extname")
		if err != nil {
			return err
		}
		there, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		lacks := slices.DeleteFunc(there, func(name string) bool {
			_, err := os.Stat(controlFile(to.Installation, name))
			return err == nil
		})
		if len(lacks) == 0 {
			return nil
		}
		return backstay.Errorf(backstay.Unsupported, "%s lacks extensions that the database has: %s. "+
			"Drop them, or ask the operator to install them.", product(to.Installation), strings.Join(lacks, ", "))
	})
}

// Upgrade copies the data and has pg_upgrade move the files of the copy into data that the new version has made.
func (e Engine) Upgrade(ctx context.Context, from, to engine.Node, progress func(string)) error {
	if err := newer(from, to); err != nil {
		return err
	}
	c, err := conversion(ctx, from, to)
	if err != nil {
		return err
	}
	return c.blame(c.Make(ctx, func(w *datadir.Workshop) error { return c.build(ctx, w, progress) }))
}

// statistics rounds: few values of each column first, so that no query is planned blindly for long.
var statisticsRounds = []string{
	"SET default_statistics_target = 1; SET vacuum_cost_delay = 0", "SET default_statistics_target = 10",
	"RESET default_statistics_target",
}

// Refresh counts what the planner of queries goes by: pg_upgrade leaves that behind.
func (Engine) Refresh(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		for _, round := range statisticsRounds {
			if _, err := conn.Exec(ctx, round); err != nil {
				return err
			}
			if _, err := conn.Exec(ctx, "ANALYZE"); err != nil {
				return fmt.Errorf("count what the planner of queries goes by: %w", err)
			}
		}
		return nil
	})
}

// upgrade is one conversion of data from one version to another.
type upgrade struct {
	datadir.Conversion
	from, to engine.Node
	chosen   settings
	files    map[string]string // the configuration of the new node
}

func conversion(ctx context.Context, from, to engine.Node) (upgrade, error) {
	p, err := plan(ctx, to)
	if err != nil {
		return upgrade{}, err
	}
	chosen, err := parseSettings(to)
	return upgrade{
		Conversion: pgserver.ConversionTo(to, p), from: from, to: to, chosen: chosen, files: p.Files,
	}, err
}

// blame gives an error without a kind that of data that cannot be upgraded.
func (u upgrade) blame(err error) error {
	if err == nil {
		return nil
	}
	return datadir.Blame(fmt.Sprintf("The upgrade from PostgreSQL %s to %s", u.from.Installation.Version,
		u.to.Installation.Version), err)
}

// build makes the new data of a copy of the old, so that the old stays what it is whatever happens.
func (u upgrade) build(ctx context.Context, w *datadir.Workshop, progress func(string)) error {
	old := filepath.Join(w.Dir, "old")
	uid, gid := w.IDs()
	progress("the data is copied.")
	if err := w.Copy(old, u.from.DataDir, uid, gid); err != nil {
		return err
	}
	if err := datadir.Fill(old, uid, gid, pgserver.ConvertingFiles()); err != nil {
		return err
	}
	if err := u.single(w, u.from, old, beforeSQL+"\n"+noteSQL); err != nil {
		return err
	}
	if err := u.layNew(ctx, w); err != nil {
		return err
	}
	progress("tables and users are brought over.")
	if err := u.pgUpgrade(w, old, "--link"); err != nil {
		return err
	}
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	progress("extensions are updated.")
	script := newWalls(u.chosen) + afterSQL + "\n" + reviveSQL
	if err := u.single(w, u.to, w.Data, script); err != nil {
		return err
	}
	return datadir.Fill(w.Data, uid, gid, u.files)
}

// newWalls builds walls in data that an upgrade has made, which knows that there were some before.
func newWalls(chosen settings) string {
	return passageSQL + "\n" + walls() + "\n" + supported(chosen.Extensions) + ";\n\n"
}

// layNew puts data that the new version has made, and nobody has used, into the workshop.
func (u upgrade) layNew(ctx context.Context, w *datadir.Workshop) error {
	if err := os.Remove(w.Data); err != nil {
		return err
	}
	uid, gid := w.IDs()
	if err := bare(u.to.Installation, u.to.CacheDir, u.chosen.locale).Clone(ctx, w.Data, uid, gid); err != nil {
		return err
	}
	if err := pgserver.RenewIdentifier(w.Data); err != nil {
		return err
	}
	return datadir.Fill(w.Data, uid, gid, pgserver.ConvertingFiles())
}

// bare is data as initdb makes it, with our collations in the template of what is brought over. All rows in the
// template are frozen, since the numbers of transactions will be those of the old data.
func bare(i engine.Installation, cacheDir, locale string) datadir.Golden {
	const freeze = "\n\nVACUUM (FREEZE);\n"
	return datadir.Golden{
		CacheDir: cacheDir, Name: "upgraded-postgres-" + i.Version, Release: i.FullVersion, User: "postgres",
		Env: pgserver.Environment, Verdict: pgserver.LastLine,
		Recipe: fmt.Sprintf("%q %q %q", i.Dir, pgserver.InitdbArguments(locale), collationsSQL),
		Build: func(w *datadir.Workshop) error {
			arguments := append(pgserver.InitdbArguments(locale), "--pgdata="+w.Data)
			if err := w.Run("", filepath.Join(i.Dir, "initdb"), arguments...); err != nil {
				return err
			}
			return w.Run(collationsSQL+freeze, filepath.Join(i.Dir, "postgres"), pgserver.SingleUser(w.Data, "template0")...)
		},
	}
}

// single has a server without clients run statements in database main.
func (u upgrade) single(w *datadir.Workshop, n engine.Node, data, statements string) error {
	return w.Run(statements, filepath.Join(n.Installation.Dir, "postgres"), pgserver.SingleUser(data, database)...)
}

// pgUpgrade runs pg_upgrade. What it has against the data is told in its own words, and is Unsupported: trying again
// does not help.
func (u upgrade) pgUpgrade(w *datadir.Workshop, old string, how string) error {
	said, err := w.Listen(filepath.Join(u.to.Installation.Dir, "pg_upgrade"),
		"--old-bindir="+u.from.Installation.Dir, "--new-bindir="+u.to.Installation.Dir, "--old-datadir="+old,
		"--new-datadir="+w.Data, "--username="+admin, "--socketdir="+u.Sockets, how)
	if reason := objection(said); err != nil && reason != "" {
		return backstay.Wrapf(err, backstay.Unsupported, "PostgreSQL %s cannot become %s: %s",
			u.from.Installation.Version, u.to.Installation.Version, reason)
	}
	return err
}

var (
	// checkedLine matches a line in which pg_upgrade names a check and what came of it.
	checkedLine = regexp.MustCompile(`(?m)^Checking .*\b(?:ok|fatal|failed check.*)\s*$`)
	// particulars matches the sentence that names a file in which the things in the way are listed.
	particulars = regexp.MustCompile(`A list of [^:]*:\s*(\S+)`)
)

// objection returns what pg_upgrade has against the data, in one line: what it says behind the last check's name, with
// the first of the things in the way.
func objection(said string) string {
	said, _, failed := strings.Cut(said, "Failure, exiting")
	checks := checkedLine.FindAllStringIndex(said, -1)
	if !failed || len(checks) == 0 {
		return ""
	}
	said = particulars.ReplaceAllStringFunc(said[checks[len(checks)-1][1]:], func(sentence string) string {
		list, err := os.ReadFile(particulars.FindStringSubmatch(sentence)[1])
		if err != nil {
			return ""
		}
		return abridged(strings.Fields(string(list)))
	})
	return strings.TrimPrefix(strings.Join(strings.Fields(said), " "), "Data type checks failed: ")
}

// abridged joins words up to a length that fits into a message.
func abridged(words []string) string {
	const most = 60
	if len(words) > most {
		words = append(words[:most:most], "…")
	}
	return strings.Join(words, " ")
}
