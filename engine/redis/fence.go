package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/datadir"
)

// fenceFile marks data that follows another node's, or was a primary's and is fenced. As long as it is there, whatever
// is written into the configuration has the server begin as one that follows. What it says tells the two apart: the
// one may be promoted once it has had a copy, the other as it is.
const (
	fenceFile   = "follows"
	followsNote = "This data follows that of another node, until the node is promoted.\n"
	fencedNote  = "This data was a primary's. It is fenced until the node is promoted.\n"
)

// Replicates is true of each version, of Redis and of Valkey.
func (Engine) Replicates(engine.Installation) bool { return true }

// Fence marks the data, and has the configuration that is there follow. It needs neither what the node is to be nor a
// server that could be started. Where there is no data, none can be served. Data that has begun to follow another
// node's stays such.
func (Engine) Fence(n engine.Node) error {
	if _, err := os.Lstat(n.DataDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	mark, err := readMark(n.DataDir)
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	files := map[string]string{fenceFile: cmp.Or(mark, fencedNote)}
	text, err := readConfig(n.DataDir)
	switch {
	case err == nil:
		if files[configFile], err = fencedConfig(text); err != nil {
			return fmt.Errorf("fence: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("fence: %w", err)
	}
	uid, gid := n.Account.IDs()
	if err := datadir.WriteFiles(n.DataDir, uid, gid, files); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return nil
}

// Concede marks the data as what it would be if it had been a primary's.
func (Engine) Concede(n engine.Node) error {
	uid, gid := n.Account.IDs()
	err := datadir.WriteFiles(n.DataDir, uid, gid, map[string]string{fenceFile: fencedNote})
	if err != nil {
		return fmt.Errorf("concede: %w", err)
	}
	return nil
}

// IsFenced looks for the mark. Where there is no data, that is an error.
func (Engine) IsFenced(n engine.Node) (bool, error) {
	if _, err := os.Lstat(n.DataDir); err != nil {
		return false, err
	}
	mark, err := readMark(n.DataDir)
	return mark != "", err
}

// fencedConfig is a redis.conf that follows: whoever it follows already, or nobody.
func fencedConfig(text string) (string, error) {
	if strings.Contains("\n"+text, "\n"+replicaofSetting+" ") {
		return text, nil
	}
	line, err := followLine(nowhere).line()
	return strings.TrimSuffix(text, "\n") + "\n" + line + "\n", err
}

func readConfig(dataDir string) (string, error) { return readText(dataDir, configFile) }

// readMark returns what marks the data; it is empty where nothing does, or where there is no data.
func readMark(dataDir string) (string, error) {
	text, err := readText(dataDir, fenceFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && text != fencedNote { // whatever else it says
		text = followsNote
	}
	return text, err
}

func readText(dataDir, name string) (string, error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	text, err := readStart(root, name, 1<<20)
	return string(text), err
}

// unfence removes the mark, and has the configuration be that of the node. Once it returns, both are for good.
func unfence(n engine.Node) error {
	err := os.Remove(filepath.Join(n.DataDir, fenceFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p, err := plan(n)
	if err != nil {
		return err
	}
	return cmp.Or(p.Reconfigure(), atomicfile.SyncDir(n.DataDir))
}

// Rejoin empties the data. The server would read all of it only to have the primary send everything anew, which it
// does to whoever was a primary; it would show clients what it alone has until then; and of data that is damaged it
// would not begin at all.
func (Engine) Rejoin(_ context.Context, primary, n engine.Node) error {
	if err := readsFrom(primary, n); err != nil {
		return err
	}
	if _, err := os.Lstat(n.DataDir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", engine.ErrCopy, err)
	}
	mark, err := readMark(n.DataDir)
	if err != nil || mark == "" {
		return errors.Join(err, errors.New("rejoin: the data is not fenced"))
	}
	if err := fitUsers(n.DataDir); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCopy, err)
	}
	if _, err := readSecret(n.DataDir); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCopy, err)
	}
	uid, gid := n.Account.IDs()
	err = datadir.WriteFiles(n.DataDir, uid, gid, map[string]string{fenceFile: followsNote}) // before there is no more
	if err == nil {
		err = emptyData(n)
	}
	if err != nil {
		return fmt.Errorf("rejoin: %w", err)
	}
	return nil
}

// emptyData gives the node an append-only file with nothing in it. One that is interrupted leaves none, or that.
func emptyData(n engine.Node) error {
	dir := filepath.Join(n.DataDir, dataFiles)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	uid, gid := n.Account.IDs()
	return datadir.Create(dir, func(part string) error {
		if err := os.Mkdir(part, 0o700); err != nil {
			return err
		}
		if err := datadir.Fill(part, uid, gid, emptyFiles()); err != nil {
			return err
		}
		return os.Chown(part, uid, gid)
	})
}

const emptyPart = "appendonly.aof.1.incr.aof"

// emptyFiles are the files of an append-only file with nothing in it.
func emptyFiles() map[string]string {
	return map[string]string{emptyPart: "", manifestFile: "file " + emptyPart + " seq 1 type i\n"}
}

// unsettled is where a server keeps what comes while it writes the file anew that holds what it was sent as a whole.
// Until that has ended, its data on the disk is that of before.
var unsettled = path.Join(dataFiles, "temp-appendonly.aof.incr")

// isSettled reports whether what the running node was sent is in its files.
func isSettled(n engine.Node) (bool, error) {
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	_, err = root.Lstat(unsettled)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}
