package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/wait"
)

var _ engine.Replicator = Engine{}

// Replicates is true of MariaDB where the program is installed by which a node is copied while it serves.
func (e Engine) Replicates(i engine.Installation) bool {
	return e.RestorePoints(i) != backstay.NoRestorePoints
}

// gently bounds how much of the disk's time a copy takes that nobody waits for: so many pieces of 10 MB a second. Each
// of the server's own hundreds of files counts as one or more, so that data that is copied in a moment would take a
// minute: that is copied as it is.
const (
	gently      = "--throttle=20"
	gentlyAbove = 1 << 30 // bytes
)

// Copy copies the serving primary by mariadb-backup, and notes in the copy which transaction is its last.
func (e Engine) Copy(ctx context.Context, primary, to engine.Node, progress func(string)) error {
	if err := sameVersion(primary, to); err != nil {
		return err
	}
	p, err := e.plan(ctx, to)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(to.DataDir); err != nil { // of a copy that was interrupted
		return err
	}
	err = conversionTo(to, p).Make(ctx, func(w *datadir.Workshop) error {
		last, err := copyPrimary(ctx, primary, w, progress)
		if err != nil {
			return err
		}
		progress("the copy is made ready.")
		return makeStandby(to, p, last, w)
	})
	if err != nil {
		return datadir.Blame("The copy of "+called(primary.Installation), err)
	}
	return nil
}

// conversionTo makes data of a node.
func conversionTo(n engine.Node, p datadir.Plan) datadir.Conversion {
	return datadir.Conversion{
		Dir: n.DataDir, Sockets: n.RunDir + ".up", UID: p.UID, GID: p.GID, User: "mysql", Env: environment,
		Verdict: copierComplaint,
	}
}

// copyPrimary fills the workshop's Data, and returns the last transaction in it.
func copyPrimary(
	ctx context.Context, primary engine.Node, w *datadir.Workshop, progress func(string),
) (last gtid, err error) {
	uid, gid := primary.Account.IDs()
	if err := errors.Join(datadir.Give(w.Data, uid, gid), os.Chmod(w.Dir, 0o711)); err != nil {
		return last, err
	}
	whole, err := toCopy(primary.DataDir)
	if err != nil {
		return last, err
	}
	how := []string{"--target-dir=" + w.Data}
	if whole > gentlyAbove {
		how = append(how, gently)
	}
	telling, end := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		tellCopied(telling, whole, w.Data, progress)
	}()
	at, err := copyNode(ctx, primary, io.Discard, how...)
	end()
	<-told
	if err != nil {
		return last, err
	}
	err = withAdmin(ctx, primary, func(conn *sql.Conn) (err error) {
		last, err = position(ctx, conn, fmt.Sprintf("BINLOG_GTID_POS(%s, %d)", quoteText(binlogFile(at.number)), at.position))
		return err
	})
	uid, gid = w.IDs()
	return last, errors.Join(err, datadir.Give(w.Data, uid, gid))
}

// toCopy returns how many bytes of a data directory a copy reads: all but the redo log, of which it reads what is
// written meanwhile. The log of a plan with much storage has a gigabyte in it before there is any data. What it takes
// on the disk may be more than its size for a while: XFS takes room for what may be written next.
func toCopy(dataDir string) (int64, error) {
	size, err := clone.Size(dataDir)
	for _, path := range logFiles(dataDir) {
		log, logErr := clone.Size(path)
		size, err = size-log, errors.Join(err, logErr)
	}
	return max(size, 0), err
}

// tellCopied tells of each further hundredth that is copied.
func tellCopied(ctx context.Context, whole int64, to string, progress func(string)) {
	told := int64(0)
	for wait.Pause(ctx, time.Second) == nil {
		done, err := clone.Size(to)
		if part := min(done*100/max(whole, 1), 100); err == nil && part > told {
			told = part
			progress(fmt.Sprintf("%d %% of the data is copied.", part))
		}
	}
}

// stateFile is where a server that has no binary log yet finds which transaction comes before it.
const stateFile = binlogName + ".state"

// makeStandby makes a copy consistent, and that of a node that follows: whoever starts a server with it gets one that
// takes no writes.
func makeStandby(n engine.Node, p datadir.Plan, last gtid, w *datadir.Workshop) error {
	err := w.Run("", beside(n.Installation, backupProgram), "--no-defaults", "--prepare", "--target-dir="+w.Data)
	if err != nil {
		return err
	}
	if err := removeNotes(w.Data); err != nil {
		return err
	}
	p.Files[fenceFile] = fenceOf(n)
	if last.sequence != 0 {
		p.Files[stateFile] = last.String() + "\n"
	}
	p.Files[madeNote(n.Installation.FullVersion)] = n.Installation.FullVersion + "-MariaDB"
	return errors.Join(os.Mkdir(filepath.Join(w.Data, tmpDir), 0o700), datadir.Fill(w.Data, p.UID, p.GID, p.Files))
}

// madeNote is the file in which a version of MariaDB notes that it has made a data directory.
func madeNote(version string) string {
	if engine.CompareVersions(version, "11") >= 0 {
		return mariadbNote
	}
	return mariadbOldNote
}

// sameVersion refuses a copy that the node's version does not read.
func sameVersion(primary, n engine.Node) error {
	if primary.Installation.Version == n.Installation.Version {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported, "The data was made by %s and cannot be served by %s.",
		called(primary.Installation), called(n.Installation))
}
