package mysql

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
)

// The server knows time zones by name when they are in its tables, which begin empty. A golden directory has those of
// this machine. Tend brings a node up to date that was made before, or with an older tzdata. A zone that the server has
// used it keeps as it was until it is started again.

// zonesDir returns the directory with the machine's time zones.
func (e Engine) zonesDir() string { return cmp.Or(e.Zoneinfo, "/usr/share/zoneinfo") }

// zonesSource is the file of that directory that all zones are made from.
const zonesSource = "tzdata.zi"

// zonesMark returns the name of the row by which the tables tell which zones they hold. It is empty if the machine has
// no time zones.
func zonesMark(dir string) (string, error) {
	source, err := os.ReadFile(filepath.Join(dir, zonesSource))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return fmt.Sprintf("backstay %.8x", sha256.Sum256(source)), err
}

// zoneTables are the tables that the zones are in. That of the names is the last: it has the mark.
var zoneTables = []string{"time_zone", "time_zone_transition", "time_zone_transition_type", "time_zone_name"}

var (
	// zoneBegins matches what the server's program begins each zone with, up to its name.
	zoneBegins = regexp.MustCompile(`(?m)^INSERT INTO time_zone \(`)
	// zoneUnwanted matches the names of the zones a second time, with and without leap seconds, and of this machine's.
	zoneUnwanted = regexp.MustCompile(`VALUES \('(posix/|right/|posixrules'|localtime')`)
	// zoneRow matches the statements that belong to a zone.
	zoneRow = regexp.MustCompile(`^(INSERT INTO time_zone|SET @time_zone_id)`)
)

// zoneRows returns the statements that fill empty tables of the current database with the time zones of dir.
func zoneRows(ctx context.Context, i engine.Installation, dir string) (rows []string, err error) {
	d := dialectOf(i)
	cmd := exec.CommandContext(ctx, beside(i, d.zones[0]), append(slices.Clone(d.zones[1:]), dir)...)
	cmd.Env = environment
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the time zones: %w", err)
	}
	begins := zoneBegins.FindAllIndex(out, -1)
	for n, at := range begins {
		end := len(out)
		if n+1 < len(begins) {
			end = begins[n+1][0]
		}
		zone := string(out[at[0]:end])
		if zoneUnwanted.MatchString(zone) {
			continue
		}
		for row := range strings.SplitSeq(zone, ";\n") {
			if zoneRow.MatchString(row) {
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// zoneStatements returns the statements that replace the time zones in a server by those of dir.
func zoneStatements(ctx context.Context, i engine.Installation, dir string) ([]string, error) {
	mark, err := zonesMark(dir)
	if err != nil || mark == "" {
		return nil, err
	}
	rows, err := zoneRows(ctx, i, dir)
	if err != nil {
		return nil, err
	}
	rows = append(rows, "INSERT INTO time_zone_name (Name, Time_zone_id) VALUES ("+quoteText(mark)+", 0)")
	return dialectOf(i).replaceZones(rows), nil
}

// zonesTurn holds whoever fills zones, which takes a second of a processor. It is one node's turn at a time, so that a
// keeper that finds many of them to be brought up to date leaves the machine for what else there is to do.
var zonesTurn = make(chan struct{}, 1)

// Tend gives the node the time zones that the machine has today. Most often that is done, and the server is not even
// asked.
func (e Engine) Tend(ctx context.Context, n engine.Node, last string) (now string, mended []string, err error) {
	dir := e.zonesDir()
	source, err := os.Stat(filepath.Join(dir, zonesSource))
	if err != nil {
		return "", nil, nil // there are no zones to be had
	}
	now = fmt.Sprint(source.ModTime().UnixNano(), source.Size())
	if now == last {
		return now, nil, nil
	}
	mark, err := zonesMark(dir)
	if err != nil {
		return "", nil, err
	}
	err = withAdmin(ctx, n, func(conn *sql.Conn) error {
		query := "SELECT Name FROM mysql.time_zone_name WHERE Name = " + quoteText(mark)
		has, err := column(ctx, conn, query)
		if err != nil || len(has) > 0 {
			return err
		}
		select {
		case zonesTurn <- struct{}{}:
			defer func() { <-zonesTurn }()
		case <-ctx.Done():
			return ctx.Err()
		}
		statements, err := zoneStatements(ctx, n.Installation, dir)
		if err != nil {
			return err
		}
		return run(ctx, conn, statements...)
	})
	return now, nil, err
}
