package pgserver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/repository"
)

// The tool's own keeping of the newest backups is switched off: which are kept is told to Expire.
const keepAll = "--repo1-retention-full=9999999"

// backupOptions leave it to us, who bring it there, to see that the log is in the archive, and have what an interrupted
// backup has left be thrown away.
var backupOptions = []string{"--type=full", "--no-archive-check", "--start-fast", keepAll, "--no-expire-auto",
	"--no-resume", "--stop-auto", "--compress-level-network=0"}

// Backup has pgBackRest copy the files of a serving node. Meanwhile, and until what was logged meanwhile is in the
// repository too, it does what Archive does. The checksums that are compared are those of PostgreSQL's pages, as they
// are read, and those of the repository's files when they are read again.
func (s Server) Backup(
	ctx context.Context, n engine.Node, r backstay.Repository, gently bool,
) (b backstay.Backup, err error) {
	t, err := s.openTool(ctx, n, r)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	taken, err := t.backUp(ctx, gently)
	if err != nil {
		return b, t.blame(ctx, err)
	}
	return taken.backup(), nil
}

func (t *pgBackRest) backUp(ctx context.Context, gently bool) (set backupSet, err error) {
	if lacks := t.server.LacksForBackups(); lacks != "" {
		return set, backstay.Errorf(backstay.Unavailable, "%s cannot be backed up: %s.", t.server.Product, lacks)
	}
	options, end, err := t.nodeOptions(ctx)
	if err != nil {
		return set, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := t.wantArchive(ctx); err != nil {
		return set, err
	}
	var before []backupSet
	err = t.withSpool(ctx, func(s *spool) error {
		before, err = t.enter(ctx, s, options)
		return err
	})
	if err != nil {
		return set, err
	}
	err = t.whilePushing(ctx, func() error {
		if gently { // one processor of those that the database's clients need is enough
			options = append(options, "--process-max=1")
		}
		_, err := t.run(ctx, gently, slices.Concat(backupOptions, options,
			[]string{"--annotation=version=" + t.node.Installation.FullVersion, "backup"})...)
		return err
	})
	if err != nil {
		return set, err
	}
	if set, err = t.newest(ctx, before); err != nil {
		return set, err
	}
	if err := t.pushUntil(ctx, set.Archive.Stop); err != nil {
		return set, err
	}
	return set, t.withSpool(ctx, func(s *spool) error {
		if err := s.backedUp(set); err != nil {
			return err
		}
		return t.tell(ctx, s)
	})
}

// enter makes the stanza the node's own, and returns the backups that it has.
func (t *pgBackRest) enter(ctx context.Context, s *spool, options []string) ([]backupSet, error) {
	if err := t.ensureStanza(ctx, s, options); err != nil {
		return nil, err
	}
	found, err := t.info(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.succeed(ctx, s); err != nil {
		return nil, err
	}
	if err := t.takeUp(ctx, s); err != nil {
		return nil, err
	}
	s.record.Server = found.server()
	return found.Backups, s.save()
}

// newest returns the backup that was not there before. It fails if that one must not be restored.
func (t *pgBackRest) newest(ctx context.Context, before []backupSet) (set backupSet, err error) {
	after, err := t.sets(ctx)
	if err != nil {
		return set, err
	}
	if len(after) == 0 || len(before) > 0 && after[len(after)-1].Label == before[len(before)-1].Label {
		return set, errors.New("pgbackrest has made no backup")
	}
	if set, err = t.all(ctx, after[len(after)-1].Label); err != nil {
		return set, err
	}
	switch {
	case set.Error:
		err = backstay.Errorf(backstay.Unavailable,
			"The database has pages on its disk that are damaged: the backup has them too.")
	case len(set.Links) > 0 || len(set.Tablespaces) > 0:
		err = backstay.Errorf(backstay.Unavailable,
			"The data directory has links in it, which none of ours has: the backup cannot be restored.")
	}
	return set, err
}

// wantArchive fails if the node does not serve, or was started by a version of ours that knew no archive.
func (t *pgBackRest) wantArchive(ctx context.Context) error {
	return WithAdmin(ctx, t.node, t.server.Database, func(conn *pgx.Conn) error {
		var mode string
		err := conn.QueryRow(ctx, "SHOW archive_mode").Scan(&mode)
		if err == nil && mode != "on" {
			err = backstay.Errorf(backstay.Unavailable, "The database is backed up once it has been restarted: it was "+
				"started by a version of Backstay that made no backups.")
		}
		return err
	})
}

// ensureStanza makes the stanza, or has it follow the node to another major version.
func (t *pgBackRest) ensureStanza(ctx context.Context, s *spool, options []string) error {
	if err := t.meet(ctx, s); err != nil {
		return err
	}
	run := func(command string) error {
		_, err := t.run(ctx, false, slices.Concat([]string{"--no-online"}, options, []string{command})...)
		return err
	}
	err := run("stanza-create")
	switch codeOf(err) {
	case codeMismatch:
		return run("stanza-upgrade")
	case codeMissing, codeNotEmpty:
		if cleared, clearErr := t.clearHalfMade(ctx); clearErr != nil || !cleared {
			return cmp.Or(clearErr, err)
		}
		return run("stanza-create")
	}
	return err
}

// meet forgets, where the repository has no archive, as another one than before, what the record says of one: until the
// stanza is whole, the node is new to it.
func (t *pgBackRest) meet(ctx context.Context, s *spool) error {
	if s.isNew() {
		return nil
	}
	out, err := t.run(ctx, false, "repo-ls", "archive/"+stanza)
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		return err
	}
	if err := repository.Reachable(ctx, t.repository); err != nil { // one that has gone meanwhile has none either
		return err
	}
	s.record.Server, s.record.Last, s.record.Told = 0, "", ""
	return s.save()
}

// begun matches the files that a stanza begins with, also while they are written.
var begun = regexp.MustCompile(`^(?:archive|backup)\.info(?:\.copy)?(?:\.pgbackrest\.tmp)?$`)

// clearHalfMade removes what was made of a stanza by a run of the tool that was killed, if there is nothing else in it.
// A stanza that has backups, or an archive, and lacks one of the files that it begins with is damaged: it stays as it
// is.
func (t *pgBackRest) clearHalfMade(ctx context.Context) (cleared bool, err error) {
	var paths []string
	for _, dir := range []string{"archive/" + stanza, "backup/" + stanza} {
		out, err := t.run(ctx, false, "--recurse", "repo-ls", dir)
		if err != nil {
			return false, err
		}
		for name := range strings.FieldsSeq(string(out)) {
			if !begun.MatchString(name) {
				return false, nil
			}
			paths = append(paths, dir+"/"+name)
		}
	}
	for _, path := range paths {
		if _, err := t.run(ctx, false, "repo-rm", path); err != nil {
			return false, err
		}
	}
	return true, nil
}

// backupSet is a backup as pgBackRest tells of it.
type backupSet struct {
	Label      string            `json:"label"`
	Error      bool              `json:"error"`
	Annotation map[string]string `json:"annotation"`
	Archive    struct {
		Start string `json:"start"` // the first segment of the log that it needs
		Stop  string `json:"stop"`
	} `json:"archive"`
	Database struct {
		ID int `json:"id"`
	} `json:"database"`
	LSN struct {
		Stop Position `json:"stop"`
	} `json:"lsn"`
	Info struct {
		Size       int64 `json:"size"`
		Repository struct {
			Delta int64 `json:"delta"`
		} `json:"repository"`
	} `json:"info"`
	Timestamp struct {
		Start int64 `json:"start"`
		Stop  int64 `json:"stop"`
	} `json:"timestamp"`
	Links       []json.RawMessage `json:"link"`       // only told of a single backup
	Tablespaces []json.RawMessage `json:"tablespace"` // likewise
}

// backup is the set in the words of the engines. PgBackRest leaves out parts of seconds: its last one has ended when
// the next begins.
func (s backupSet) backup() backstay.Backup {
	return backstay.Backup{
		ID: s.Label, Began: time.Unix(s.Timestamp.Start, 0).UTC(), Ended: time.Unix(s.Timestamp.Stop+1, 0).UTC(),
		Data: backstay.Bytes(s.Info.Size), Stored: backstay.Bytes(s.Info.Repository.Delta),
		Version: s.Annotation["version"],
	}
}

// hasAllOf is a moment until which the backup holds all that was committed. Its end is none: the clock is read when the
// server has ended the backup, and what is committed meanwhile lies behind that in the log.
func (s backupSet) hasAllOf() time.Time { return time.Unix(s.Timestamp.Start, 0).UTC() }

// stanzaInfo is what pgBackRest tells of the stanza.
type stanzaInfo struct {
	Backups []backupSet `json:"backup"`
	Servers []struct {
		ID         int    `json:"id"`
		Identifier uint64 `json:"system-id"`
	} `json:"db"`
	Archive []struct {
		Database struct {
			ID int `json:"id"`
		} `json:"database"`
		Max string `json:"max"`
	} `json:"archive"`
	Status struct {
		Code int `json:"code"`
	} `json:"status"`
	Repo []struct {
		Status struct {
			Message string `json:"message"`
		} `json:"status"`
	} `json:"repo"`
}

// Statuses of a stanza: there is none, or its data is missing. Between them, there is no backup in it; what is higher
// is trouble.
const (
	statusNoStanza = 1
	statusNoData   = 3
	statusNoBackup = 6 // of the name that was asked for, though it may be in the list still
)

// server is the number of the server that the stanza follows now: the last that it has met.
func (i stanzaInfo) server() (last int) {
	for _, s := range i.Servers {
		last = max(last, s.ID)
	}
	return last
}

// info tells what the repository holds. One that has gone since somebody looked holds nothing, which is no answer.
func (t *pgBackRest) info(ctx context.Context, options ...string) (found stanzaInfo, err error) {
	out, err := t.run(ctx, false, append(options, "--output=json", "info")...)
	if err != nil {
		return found, err
	}
	var all []stanzaInfo
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		return found, &toolFailure{codeFormat, fmt.Sprintf("FormatError: %v", err)} // it quotes what it cannot read
	}
	found = all[0]
	if found.Status.Code != 0 {
		if err := repository.Reachable(ctx, t.repository); err != nil {
			return found, err
		}
	}
	if code := found.Status.Code; code > statusNoData {
		said := ""
		for _, r := range found.Repo {
			said += r.Status.Message
		}
		return found, &toolFailure{code, said}
	}
	return found, nil
}

// sets returns the whole backups, the oldest first.
func (t *pgBackRest) sets(ctx context.Context) ([]backupSet, error) {
	found, err := t.info(ctx)
	return found.Backups, err
}

// Backups lists the backups without such that have damaged pages.
func (s Server) Backups(ctx context.Context, n engine.Node, r backstay.Repository) (all []backstay.Backup, err error) {
	t, err := s.openTool(ctx, n, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	sets, err := t.sets(ctx)
	if err != nil {
		return nil, t.blame(ctx, err)
	}
	all = []backstay.Backup{}
	for _, set := range sets {
		if !set.Error {
			all = append(all, set.backup())
		}
	}
	return all, nil
}

// set returns one backup with all that is told of it. It is NotFound if there is none of that name.
func (t *pgBackRest) set(ctx context.Context, id string) (backupSet, error) {
	sets, err := t.sets(ctx)
	if err != nil {
		return backupSet{}, err
	}
	if !slices.ContainsFunc(sets, func(s backupSet) bool { return s.Label == id }) {
		return backupSet{}, backstay.Errorf(backstay.NotFound, "There is no backup %s.", id)
	}
	return t.all(ctx, id)
}

// all returns one of the whole backups with all that is told of it.
func (t *pgBackRest) all(ctx context.Context, id string) (backupSet, error) {
	found, err := t.info(ctx, "--set="+id)
	if err == nil && len(found.Backups) != 1 {
		err = fmt.Errorf("backup %s is told of %d times", id, len(found.Backups))
	}
	if codeOf(err) == statusNoBackup {
		err = backstay.Wrapf(err, backstay.NotFound, "There is no backup %s.", id)
	}
	if err != nil {
		return backupSet{}, err
	}
	return found.Backups[0], nil
}

// Expire removes backups one by one, each with what of the archive is older than all others. PgBackRest never removes
// the last one: where none is kept, the stanza goes.
func (s Server) Expire(ctx context.Context, n engine.Node, r backstay.Repository, keep []string) (err error) {
	t, err := s.openTool(ctx, n, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	sets, err := t.sets(ctx)
	if err != nil {
		return t.blame(ctx, err)
	}
	isKept := func(set backupSet) bool { return slices.Contains(keep, set.Label) }
	if !slices.ContainsFunc(sets, isKept) {
		return t.blame(ctx, t.removeStanza(ctx))
	}
	for _, set := range sets {
		if isKept(set) {
			continue
		}
		if _, err := t.run(ctx, false, keepAll, "--set="+set.Label, "expire"); err != nil {
			return t.blame(ctx, err)
		}
	}
	oldest := sets[slices.IndexFunc(sets, isKept)].backup()
	return t.blame(ctx, t.store.DropGaps(ctx, oldest.Ended))
}

func (t *pgBackRest) removeStanza(ctx context.Context) error {
	if _, err := t.run(ctx, false, "stop"); err != nil {
		return err
	}
	_, err := t.run(ctx, false, "--pg1-path="+filepath.Join(t.dir, "none"), "--force", "stanza-delete")
	if err != nil {
		return err
	}
	return t.forgetAll(ctx)
}
