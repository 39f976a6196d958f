package mysql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/repository"
)

// A backup is two objects: what mariadb-backup streams, and a manifest that is put when that is whole and was read
// back. What has no manifest is no backup.

// Programs beside the installation's directory.
const (
	backupProgram = "bin/mariadb-backup"
	streamProgram = "bin/mbstream"
)

const backupsPrefix = "backup/"

// manifest is what the repository knows of a backup.
type manifest struct {
	engine.Backup
	SHA256 string `json:"sha256"` // of the stream
}

func streamOf(id string) string   { return backupsPrefix + id + "/stream" }
func manifestOf(id string) string { return backupsPrefix + id + "/manifest" }

// backupID matches the names of backups: the second, in UTC, in which they began.
var backupID = regexp.MustCompile(`^\d{8}T\d{6}Z$`)

// archivable refuses products that have no program to be copied by while they serve.
func archivable(i engine.Installation) error {
	if dialectOf(i).product != mariadb.product {
		return backstay.Errorf(backstay.Unsupported, "%s cannot be backed up: it brings no program that copies a "+
			"database whole while it serves.", called(i))
	}
	return nil
}

func openStore(i engine.Installation, r backstay.Repository) (*repository.Store, error) {
	if err := archivable(i); err != nil {
		return nil, err
	}
	return repository.Open(r)
}

// Backup streams a copy by mariadb-backup into the repository, and reads it back. InnoDB's tables are written to
// meanwhile; commits wait while tables of other engines are copied, at the end.
func (Engine) Backup(ctx context.Context, n engine.Node, r backstay.Repository) (engine.Backup, error) {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return engine.Backup{}, err
	}
	began := time.Now().UTC()
	m := manifest{Backup: engine.Backup{ID: began.Format("20060102T150405Z"), Began: began}}
	stored, err := store.Put(ctx, streamOf(m.ID), func(w io.Writer) error {
		return copyNode(ctx, n, w, "--stream=mbstream")
	})
	if err != nil {
		return engine.Backup{}, err
	}
	m.Ended, m.Stored, m.SHA256, m.Version = time.Now().UTC(), stored.Size, stored.SHA256, n.Installation.FullVersion
	size, err := clone.Size(n.DataDir)
	if err != nil {
		return engine.Backup{}, err
	}
	m.Data = backstay.Bytes(size)
	if err := readBack(ctx, store, streamOf(m.ID)); err != nil {
		return engine.Backup{}, err
	}
	_, err = store.Put(ctx, manifestOf(m.ID), func(w io.Writer) error { return json.NewEncoder(w).Encode(m) })
	return m.Backup, err
}

// copyNode runs mariadb-backup on a serving node, with less right to the processor and the disk than everybody else.
// It works in a directory beside the data directory, which no instance can open.
func copyNode(ctx context.Context, n engine.Node, stdout io.Writer, how ...string) (err error) {
	dir := n.DataDir + ".backup"
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	args := append([]string{"-n", "19", "ionice", "-t", "-c", "3", beside(n.Installation, backupProgram), "--no-defaults",
		"--backup", "--datadir=" + n.DataDir, "--socket=" + filepath.Join(n.RunDir, socketName), "--user=" + n.Admin.User,
		"--databases-exclude=" + tmpDir, "--tmpdir=" + dir, "--target-dir=" + dir + "/target"}, how...)
	cmd := exec.CommandContext(ctx, "nice", args...)
	var said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environment, stdout, &said
	// It works in the data directory, where only its own end tells it from the server. So it ends when we do, and that
	// is when the thread does that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		last := lastLine(said.String())
		return backstay.Wrapf(fmt.Errorf("%w: %s", err, last), backstay.Unavailable, "%s could not be copied: %s.",
			called(n.Installation), strings.TrimSuffix(last, "."))
	}
	return nil
}

// stamp is what mariadb-backup begins its lines with.
var stamp = regexp.MustCompile(`^\[\d+\] (FATAL ERROR: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d )?`)

func lastLine(said string) string {
	said = strings.TrimSpace(said)
	return stamp.ReplaceAllString(said[strings.LastIndexByte(said, '\n')+1:], "")
}

// readBack reads an object to its end, where damage is found at the latest.
func readBack(ctx context.Context, store *repository.Store, name string) (err error) {
	content, err := store.Get(ctx, name)
	if err != nil {
		return damaged(err)
	}
	defer content.Close()
	_, err = io.Copy(io.Discard, content)
	return err
}

// damaged is Invalid for an object that is gone.
func damaged(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return backstay.Wrapf(err, backstay.Invalid, "The backup is damaged: a part of it is gone.")
	}
	return err
}

// Archive has nothing to bring: only backups can be restored, and no moment between them.
func (Engine) Archive(context.Context, engine.Node, backstay.Repository) (engine.Archived, error) {
	return engine.Archived{}, nil
}

// Backups lists the manifests.
func (Engine) Backups(ctx context.Context, n engine.Node, r backstay.Repository) ([]engine.Backup, error) {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return nil, err
	}
	entries, err := store.List(ctx, backupsPrefix)
	var all []engine.Backup
	for _, e := range entries {
		id := filepath.Base(filepath.Dir(e.Name))
		if e.Name != manifestOf(id) {
			continue
		}
		m, err := readManifest(ctx, store, id)
		if err != nil {
			return nil, err
		}
		all = append(all, m.Backup)
	}
	return all, err
}

func readManifest(ctx context.Context, store *repository.Store, id string) (m manifest, err error) {
	if !backupID.MatchString(id) {
		return m, backstay.Errorf(backstay.NotFound, "There is no backup %s.", id)
	}
	text, err := store.Text(ctx, manifestOf(id))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err
}

// Verify reads a backup whole.
func (Engine) Verify(ctx context.Context, n engine.Node, r backstay.Repository, b engine.Backup) error {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return err
	}
	if _, err := readManifest(ctx, store, b.ID); err != nil {
		return err
	}
	return readBack(ctx, store, streamOf(b.ID))
}

// Expire removes the manifests first, so that what is left of a backup is none.
func (Engine) Expire(ctx context.Context, n engine.Node, r backstay.Repository, keep []string) error {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return err
	}
	entries, err := store.List(ctx, backupsPrefix)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, id := range keep {
		kept[manifestOf(id)], kept[streamOf(id)] = true, true
	}
	var manifests, rest []string
	for _, e := range entries {
		switch {
		case kept[e.Name]:
		case filepath.Base(e.Name) == "manifest":
			manifests = append(manifests, e.Name)
		default:
			rest = append(rest, e.Name)
		}
	}
	return store.Delete(ctx, time.Now(), append(manifests, rest...)...)
}
