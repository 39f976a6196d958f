package pgserver

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// Restore has pgBackRest lay out the backup, and a server without clients replay the archive. That server has no access
// to the repository: it asks us for each segment.
func (s Server) Restore(ctx context.Context, n engine.Node, r backstay.Repository, to engine.Point) (err error) {
	t, err := s.openTool(ctx, n, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	set, err := t.restorable(ctx, to.Backup)
	if err != nil {
		return t.blame(ctx, err)
	}
	head, err := readHead(ctx, t.store)
	if err == nil {
		err = t.passes(ctx, set, to.Until)
	}
	timeline := ""
	if err == nil {
		timeline, err = t.timelineFor(ctx, set, head, to)
	}
	if err != nil {
		return t.blame(ctx, err)
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	err = s.TakeOver(ctx, n, func(w *datadir.Workshop, c Recovery) error {
		t.worksIn = w.Dir
		if err := t.layOut(ctx, w, set.Label); err != nil {
			return err
		}
		f := &feeder{tool: t, data: w.Data, dir: w.Dir, set: set, head: head, timeline: timeline, fail: fail}
		return c.replay(ctx, w, f, to)
	})
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx) // what the server could not go on without
	}
	t.worksIn = t.dir
	return BlameCopy("The restore of "+s.Product, t.blame(ctx, err))
}

// BlameCopy gives an error without a kind that of data that cannot be set up.
func BlameCopy(what string, err error) error {
	if err == nil {
		return nil
	}
	return datadir.Blame(what, err)
}

// restorable returns a backup that the node can serve, and of which nothing leads out of the data directory.
func (t *pgBackRest) restorable(ctx context.Context, id string) (set backupSet, err error) {
	var manifest []byte
	got := make(chan error, 1)
	go func() { // meanwhile: each call of the tool takes its time, and somebody waits for the restore
		var err error
		manifest, err = t.run(ctx, false, "repo-get", "backup/"+stanza+"/"+id+"/backup.manifest")
		got <- err
	}()
	set, err = t.set(ctx, id)
	if err == nil {
		err = t.server.Fits(set.Annotation["version"], t.node)
	}
	if err = cmp.Or(err, <-got); err != nil { // which waits in any case
		return set, err
	}
	if leaves(manifest) || len(set.Links) > 0 || len(set.Tablespaces) > 0 {
		return set, backstay.Errorf(backstay.Invalid,
			"The backup %s has files outside of the data directory: it is not restored.", id)
	}
	return set, nil
}

// leaves tells whether a manifest names anything that is not below the data directory. What it names was told by a
// process with the rights of the server, and is laid out by one with ours.
func leaves(manifest []byte) bool {
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(manifest))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		name, _, _ := strings.Cut(line, "={")
		switch section {
		case "[target:link]":
			return line != ""
		case "[target:file]", "[target:path]":
			if name != "" && (name != "pg_data" && !strings.HasPrefix(name, "pg_data/") || !filepath.IsLocal(name) ||
				strings.Contains("/"+name+"/", "/../")) {
				return true
			}
		}
	}
	return lines.Err() != nil
}

func (t *pgBackRest) layOut(ctx context.Context, w *datadir.Workshop, label string) error {
	_, err := t.run(ctx, false, "--pg1-path="+w.Data, "--set="+label, "--type=none", "restore")
	if err != nil {
		return err
	}
	uid, gid := w.IDs()
	return datadir.Give(w.Data, uid, gid)
}

// The server that replays an archive asks for a segment by its name, through one pipe with a name, and is answered
// through another. What it asked for then lies beside them.
const (
	askPipe    = "ask"
	answerPipe = "answer"
	askCommand = `echo %f >../` + askPipe + ` && read answer <../` + answerPipe + ` && ` +
		`test "$answer" = yes && mv ../%f %p`
	answerYes   = "yes\n"
	answerNo    = "no\n"
	unreachable = "recovery ended before configured recovery target was reached"
)

// replay starts the server until it has replayed what is wanted, and takes the users away.
func (c Recovery) replay(ctx context.Context, w *datadir.Workshop, f *feeder, to engine.Point) error {
	end, err := f.serve(ctx, w)
	if err != nil {
		return err
	}
	defer end()
	target := map[string]string{"restore_command": askCommand, "recovery_target_timeline": f.timeline,
		"recovery_target_action": "promote"}
	switch {
	case to.Alone:
		target["recovery_target"], target["recovery_target_timeline"] = "immediate", backupsTimeline
	case !to.Until.IsZero():
		target["recovery_target_time"] = to.Until.UTC().Format("2006-01-02 15:04:05.999999-07")
	}
	if err := os.WriteFile(filepath.Join(w.Data, "recovery.signal"), nil, 0o600); err != nil {
		return err
	}
	err = c.start(ctx, w, target)
	if damage := f.damage(); damage != nil && (err != nil || !to.Alone && to.Until.IsZero()) { // it was needed
		return damage
	}
	if err != nil && c.said(w, unreachable) { // nothing was committed after the moment
		if err := f.reaches(ctx, to.Until); err != nil {
			return err
		}
		delete(target, "recovery_target_time")
		f.closed.Store(true)
		err = c.start(ctx, w, target)
	}
	if err != nil {
		return err
	}
	return c.finish(ctx, w)
}

// feeder gives a server segments of the archive.
type feeder struct {
	tool *pgBackRest
	data string // of the server
	dir  string // that the server may use
	set  backupSet
	head head
	// timeline is that which the server is to follow to its end.
	timeline string
	closed   atomic.Bool // no segment is given any more that was not given before
	given    map[string]bool
	fail     context.CancelCauseFunc
	lost     atomic.Pointer[error] // why a segment was not given that there was; nil: there is none
}

// damage is why a segment could not be given. The server reads ahead, so it may have reached what is wanted without.
func (f *feeder) damage() error {
	if why := f.lost.Load(); why != nil {
		return *why
	}
	return nil
}

// serve answers the server until end is called.
func (f *feeder) serve(ctx context.Context, w *datadir.Workshop) (end func(), err error) {
	uid, gid := w.IDs()
	f.given = map[string]bool{}
	pipes := map[string]*os.File{}
	for _, name := range []string{askPipe, answerPipe} {
		path := filepath.Join(f.dir, name)
		if err := errors.Join(mkfifo(path), os.Lchown(path, uid, gid)); err != nil {
			return nil, err
		}
		if pipes[name], err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			return nil, err
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		asked := bufio.NewScanner(pipes[askPipe])
		for asked.Scan() {
			answer, err := f.give(ctx, w, asked.Text())
			if err == nil {
				_, err = pipes[answerPipe].WriteString(answer)
			}
			if err != nil {
				f.fail(err)
				return
			}
		}
	}()
	return func() {
		pipes[askPipe].Close()
		<-done
		pipes[answerPipe].Close()
	}, nil
}

// asks matches what a server asks its archive for.
var asks = regexp.MustCompile(`^[0-9A-F]{8}(?:[0-9A-F]{16})?(?:\.[0-9A-F]{8}\.backup|\.history)?$`)

// give fetches what the server asks for. What is damaged, or missing though there is something later, it does not get.
func (f *feeder) give(ctx context.Context, w *datadir.Workshop, name string) (answer string, err error) {
	if !asks.MatchString(name) || f.closed.Load() && logName.MatchString(name) && !f.given[name] {
		return answerNo, nil
	}
	path := filepath.Join(f.dir, name)
	_, err = f.tool.run(ctx, false, "--pg1-path="+f.data, "archive-get", name, path)
	if codeOf(err) == codeNotFound {
		if err = f.missing(ctx, name); err == nil {
			return answerNo, nil
		}
	}
	why := f.tool.blame(ctx, err)
	switch {
	case why == nil:
	case backstay.KindOf(why) == backstay.Invalid:
		f.lost.CompareAndSwap(nil, &why)
		return answerNo, nil
	default:
		return "", why
	}
	f.given[name] = true
	uid, gid := w.IDs()
	return answerYes, os.Lchown(path, uid, gid)
}

func (f *feeder) missing(ctx context.Context, name string) error {
	if !logName.MatchString(name) {
		return nil
	}
	found, err := f.tool.info(ctx)
	if err != nil {
		return f.tool.blame(ctx, err)
	}
	own := line{f.set.Database.ID, name[:8]}
	later := name <= f.set.Archive.Stop || name <= f.head[own.String()].Last
	for _, a := range found.Archive {
		sameLine := a.Database.ID == f.set.Database.ID && strings.HasPrefix(a.Max, name[:8])
		later = later || sameLine && a.Max > name
	}
	if later {
		return backstay.Wrapf(fmt.Errorf("the archive lacks %s", name), backstay.Invalid,
			"The archive is damaged: a part of it is missing.")
	}
	return nil
}
