package mysql

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/process"
)

// mariadb-backup reads a data directory that belongs to the node's user, and follows links in it. So it runs as that
// user: what the node's server could not read by itself, no copy holds. It comes in by an account that lasts for as
// long as it runs, since the administrator's is for the keeper's user alone.

// copier begins the names of accounts of mariadb-backup. Each start of the server removes them, too, as it does with
// all others that come in by the Unix socket.
const copier = "backstay_copier"

// lookAtLog is how often mariadb-backup looks at the redo log, in milliseconds. At its end, when nobody may commit, it
// waits for its next look, which by itself is up to a second away.
const lookAtLog = "20"

// ended is where in the binary log a copy has ended. The number is 0 if there is no binary log.
type ended struct {
	number   int
	position int64
}

// copyNode runs mariadb-backup on a serving node. It works in a directory beside the data directory. It has the same
// right to the processor as everybody else: at its end it holds writers up, for as long as it takes to write the rest
// down, and it has to keep up with the redo log, which the server overwrites behind it.
func copyNode(ctx context.Context, n engine.Node, stdout io.Writer, how ...string) (at ended, err error) {
	bench, err := newBench(ctx, n)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, bench.leave()) }()
	dir, password := bench.dir, backstay.Secret(rand.Text())
	way := fmt.Sprintf("[mariabackup]\nuser = %s\npassword = %s\nsocket = %s\n",
		bench.account, password.Reveal(), filepath.Join(n.RunDir, socketName))
	uid, gid := n.Account.IDs()
	err = errors.Join(datadir.Fill(dir, uid, gid, map[string]string{"way.cnf": way}), datadir.Give(dir, uid, gid))
	if err != nil {
		return at, err
	}
	if err := letIn(ctx, n, bench, password); err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, shutOut(context.WithoutCancel(ctx), n, bench.account)) }()
	args := append([]string{"--defaults-file=" + dir + "/way.cnf", "--backup", "--datadir=" + n.DataDir,
		"--databases-exclude=" + tmpDir, "--tmpdir=" + dir, "--extra-lsndir=" + dir + "/ended",
		"--target-dir=" + dir + "/target", "--log-copy-interval=" + lookAtLog}, how...)
	if err := runCopier(ctx, n, dir, stdout, args); err != nil {
		return at, err
	}
	return readEnded(dir + "/ended")
}

// letIn makes the copier's account, with the rights that mariadb-backup needs, and that of a connection where all are
// taken, and removes those of copies that have ended without doing so. The binary log is not told.
func letIn(ctx context.Context, n engine.Node, b *bench, password backstay.Secret) error {
	account := quoteText(b.account) + "@'localhost'"
	return withAccounts(ctx, n, func(conn *sql.Conn) error {
		for _, ended := range b.ended {
			if err := run(ctx, conn, unlogged, "DROP USER IF EXISTS "+quoteText(ended)+"@'localhost'"); err != nil {
				return err
			}
		}
		return run(ctx, conn, unlogged,
			"CREATE OR REPLACE USER "+account+" IDENTIFIED VIA mysql_native_password USING "+quoteText(hashed(password)),
			"GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, CONNECTION ADMIN ON *.* TO "+account)
	})
}

func shutOut(ctx context.Context, n engine.Node, account string) error {
	ctx, cancel := context.WithTimeout(ctx, clearLimit)
	defer cancel()
	err := withAccounts(ctx, n, func(conn *sql.Conn) error {
		return run(ctx, conn, unlogged, "DROP USER IF EXISTS "+quoteText(account)+"@'localhost'")
	})
	if backstay.KindOf(err) == backstay.Unavailable { // its next start does it
		return nil
	}
	return err
}

func runCopier(ctx context.Context, n engine.Node, dir string, stdout io.Writer, args []string) error {
	cmd := exec.CommandContext(ctx, beside(n.Installation, backupProgram), args...)
	var said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environment, stdout, &said
	if n.Account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: n.Account.UID, Gid: n.Account.GID}}
	}
	// It works in the data directory, where only its own end tells it from the server. So it has to end when we do.
	if err := process.RunBound(cmd); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		why := copierComplaint(said.String())
		return backstay.Wrapf(fmt.Errorf("%w: %s", err, why), backstay.Unavailable, "%s could not be copied: %s.",
			called(n.Installation), strings.TrimSuffix(why, "."))
	}
	return nil
}

// endedAt matches what mariadb-backup notes: "binlog_pos = filename 'binlog.000001', position '342', GTID …".
var endedAt = regexp.MustCompile(`binlog_pos = filename '` + binlogName + `\.(\d+)', position '(\d+)'`)

// readEnded reads the notes of mariadb-backup, whose name has changed with version 11. They belong to the node's user.
func readEnded(dir string) (at ended, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return at, err
	}
	defer root.Close()
	notes, err := root.ReadFile("mariadb_backup_info")
	if errors.Is(err, fs.ErrNotExist) {
		notes, err = root.ReadFile("xtrabackup_info")
	}
	match := endedAt.FindSubmatch(notes)
	if err != nil || match == nil {
		return at, err
	}
	at.number, err = strconv.Atoi(string(match[1]))
	if err != nil {
		return at, err
	}
	at.position, err = strconv.ParseInt(string(match[2]), 10, 64)
	return at, err
}

// Where mariadb-backup says why it ends, and what such lines begin with.
var (
	complaintLine = regexp.MustCompile(`(?m)^.*(?:FATAL ERROR: |\[ERROR\] |Error: |\((?:errno|Errcode): ).*$`)
	stamp         = regexp.MustCompile(`^(?:\[\d+\] )?(?:FATAL ERROR: )?(?:\d{4}-\d\d-\d\d +\d+:\d\d:\d\d )?(?:\d+ )?` +
		`(?:\[ERROR\] )?(?:mariabackup: |mariadb-backup: )?(?:Error: )?`)
)

// copierComplaint returns the first thing that mariadb-backup complains of, or else the last that it says.
func copierComplaint(said string) string {
	said = strings.TrimSpace(said)
	line := complaintLine.FindString(said)
	if line == "" {
		line = said[strings.LastIndexByte(said, '\n')+1:]
	}
	return strings.TrimSpace(stamp.ReplaceAllString(line, ""))
}
