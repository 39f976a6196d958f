package pgserver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/repository"
)

// stanza is pgBackRest's name for the server. Each part of a repository holds one.
const stanza = "main"

// pgBackRest is the tool with one repository, for one call of the engine. It runs as we do, since it needs the
// repository's key. What it wants of a data directory it has read by a second process, which has the node's own rights:
// see forward.go.
type pgBackRest struct {
	server     Server
	node       engine.Node
	repository backstay.Repository
	store      *repository.Store // of what lies beside its own objects
	dir        string            // for its locks, which need not outlive the call
	worksIn    string            // where its processes are found that outlive us for a moment
	held       *os.File          // keeps dir from being swept
}

// openTool fails if the repository is away.
func (s Server) openTool(ctx context.Context, n engine.Node, r backstay.Repository) (t *pgBackRest, err error) {
	if err := repository.Reachable(ctx, r); err != nil {
		return nil, err
	}
	store, err := repository.Open(r)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", toolPrefix)
	if err != nil {
		return nil, err
	}
	held, err := os.Open(dir)
	if err == nil {
		err = unix.Flock(int(held.Fd()), unix.LOCK_SH)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	SweepTools()
	return &pgBackRest{server: s, node: n, repository: r, store: store, dir: dir, worksIn: dir, held: held}, nil
}

const toolPrefix = "backstay-pgbackrest-"

// SweepTools ends and removes what those have left who were killed: the tool's helpers, which write to the repository
// until they see that they are alone, and directories that nobody holds and that were not made just now. What cannot
// be removed is left to whoever can.
func SweepTools() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), toolPrefix+"*"))
	for _, path := range left {
		dir, err := os.Open(path)
		if err != nil {
			continue
		}
		info, err := dir.Stat()
		if err == nil && unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = process.KillIn(path)
			if err == nil && time.Since(info.ModTime()) > time.Minute {
				_ = os.RemoveAll(path)
			}
		}
		dir.Close()
	}
}

func (t *pgBackRest) close() error { return errors.Join(os.RemoveAll(t.dir), t.held.Close()) }

// configuration returns the tool's options about the repository, some of which are secret. Each is one line. A release
// that does not know an option only warns of it.
func (t *pgBackRest) configuration() (string, error) {
	lines := []string{"[global]", "repo1-cipher-type=aes-256-cbc", "repo1-cipher-pass=" + t.repository.Key.Reveal(),
		"repo1-bundle=y", "repo1-symlink=n", "compress-type=lz4", "io-timeout=10", "process-max=2", "neutral-umask=n",
		"allow-root=y",          // what it makes is for us alone
		"checksum-page-error=n", // backups with such pages are never restored, and are in no others' way
		"job-retry=2", "job-retry-interval=1",
		"log-level-file=off", "log-level-console=off", "log-level-stderr=warn", "log-timestamp=n",
		"lock-path=" + filepath.Join(t.dir, "lock"), "spool-path=" + filepath.Join(t.dir, "spool")}
	if o := t.repository.Objects; o != nil {
		lines = append(lines, t.objects(*o)...)
	} else {
		lines = append(lines, "repo1-path="+filepath.Join(t.repository.Dir, t.repository.Part))
	}
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n") {
			return "", errors.New("a setting of the repository has a line break in it")
		}
	}
	return strings.Join(lines, "\n") + "\n", nil
}

func (t *pgBackRest) objects(o backstay.ObjectStore) []string {
	host, port, err := net.SplitHostPort(o.Endpoint)
	if err != nil {
		host, port = o.Endpoint, "443"
	}
	lines := []string{"repo1-type=s3", "repo1-path=/" + strings.TrimPrefix(o.Prefix+"/"+t.repository.Part, "/"),
		"repo1-s3-bucket=" + o.Bucket, "repo1-s3-endpoint=" + host, "repo1-storage-port=" + port,
		"repo1-s3-uri-style=path", "repo1-s3-region=" + cmp.Or(o.Region, "us-east-1"),
		"repo1-s3-key=" + o.AccessKey, "repo1-s3-key-secret=" + o.SecretKey.Reveal()}
	if o.Authority != "" {
		lines = append(lines, "repo1-storage-ca-file="+o.Authority)
	}
	return lines
}

// toolFailure is the failure of a run of the tool.
type toolFailure struct {
	code int    // the tool's number for what went wrong, which it also ends with
	said string // on standard error
}

func (f *toolFailure) Error() string { return fmt.Sprintf("pgbackrest: code %d: %s", f.code, f.said) }

// codeOf returns the tool's number for what went wrong, or 0.
func codeOf(err error) int {
	var failure *toolFailure
	if errors.As(err, &failure) {
		return failure.code
	}
	return 0
}

// The tool's numbers for some of what goes wrong.
const (
	codeNotFound  = 1  // the archive does not have what was asked for
	codeMismatch  = 28 // the repository's stanza is that of another server
	codeFormat    = 29 // what is in the repository is not what belongs there
	codeNotEmpty  = 40 // there is something where a stanza is to be made
	codeOther     = 44 // a segment of the log is of another server than the stanza
	codeDuplicate = 45 // another segment of that name is there
	codeLocked    = 50
	codeMissing   = 55 // a file that belongs to what is there
)

// spoiledCodes are the tool's numbers for what it has read of a file and cannot be what was written there: a checksum,
// a format, or an encryption that is another one.
var spoiledCodes = []int{26, codeFormat, 95}

// toolLockPatience is how long a lock is waited for: the processes of one that was killed take a moment to notice.
const toolLockPatience = 10 * time.Second

// run runs the tool to its end, and returns what it says on standard output. Gentle is what nobody waits for: it gives
// way to all other processes of the machine.
func (t *pgBackRest) run(ctx context.Context, gentle bool, args ...string) (out []byte, err error) {
	deadline := time.Now().Add(toolLockPatience)
	err = wait.Until(ctx, wait.Every(100*time.Millisecond), func() (again bool, err error) {
		out, err = t.runOnce(ctx, gentle, args)
		return codeOf(err) == codeLocked && time.Now().Before(deadline), err
	})
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return out, err
}

func (t *pgBackRest) runOnce(ctx context.Context, gentle bool, args []string) (out []byte, err error) {
	text, err := t.configuration()
	if err != nil {
		return nil, err
	}
	config, err := inMemory(text)
	if err != nil {
		return nil, err
	}
	defer config.Close()
	command := slices.Concat([]string{t.server.tool(), "--config=/proc/self/fd/3", "--stanza=" + stanza}, args)
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `umask 077; exec "$0" "$@"`}, command...)...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = t.worksIn, Environment, []*os.File{config}
	var said, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &told, &said
	run := process.RunBound // the tool's own processes end with it
	if gentle {
		run = func(cmd *exec.Cmd) error { return process.RunGently(cmd, t.node.Background...) }
	}
	if err := run(cmd); err != nil {
		var ended *exec.ExitError
		if errors.As(err, &ended) && ended.Exited() {
			return nil, &toolFailure{ended.ExitCode(), strings.TrimSpace(said.String())}
		}
		return nil, fmt.Errorf("pgbackrest: %w: %s", err, said.String())
	}
	return told.Bytes(), nil
}

// inMemory returns a file that has no name, and so is nobody else's to read. Who inherits it opens it anew each time.
func inMemory(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("pgbackrest.conf", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "pgbackrest.conf")
	if _, err := f.WriteString(text); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// spoiled matches the tool's words for something that is in the repository and cannot be what was written there with
// this key, or that is not there and must be.
var spoiled = regexp.MustCompile(`CryptoError|ChecksumError|FormatError|FileMissingError|JsonFormatError|` +
	`ERROR: \[0(?:26|29|55|95)\]|does not match expected checksum|No usable (?:backup|archive)\.info file`)

// blame gives an error of the tool's its kind and its sentence.
func (t *pgBackRest) blame(ctx context.Context, err error) error {
	var failure *toolFailure
	if !errors.As(err, &failure) || backstay.KindOf(err) != backstay.Internal { // who has met it has said what it is
		return err
	}
	if away := repository.Reachable(ctx, t.repository); away != nil {
		return away
	}
	switch {
	case failure.code == 127:
		return backstay.Wrapf(err, backstay.Unavailable, "%s cannot be backed up: pgBackRest is not installed.",
			t.server.Product)
	case strings.Contains(failure.said, "No space left on device"), strings.Contains(failure.said, "quota exceeded"):
		return backstay.Wrapf(err, backstay.Unavailable, "The repository of the backups is full.")
	case spoiled.MatchString(failure.said):
		return backstay.Wrapf(err, backstay.Invalid, "The backup is damaged, or was written with another key.")
	}
	return backstay.Wrapf(err, backstay.Unavailable, "pgBackRest says: %s.", firstComplaint(failure.said))
}

// complaintLine matches an error without the words about which of the tool's processes has met it.
var complaintLine = regexp.MustCompile(`(?m)^ERROR: \[\d+\]: ` +
	`(?:raised from \S+ \S+ protocol(?: on '[^']*')?: )?(.*?)[.:]?$`)

// firstComplaint returns the first error that the tool tells of, in one line.
func firstComplaint(said string) string {
	if match := complaintLine.FindStringSubmatch(said); match != nil {
		return match[1]
	}
	return strings.TrimSuffix(LastLine(said), ".")
}
