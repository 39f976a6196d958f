package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// Archiver is an Engine whose nodes can be backed up, and made anew from a backup. For one repository only one of
// Backup, Archive and Expire is called at a time, except that Archive goes on while Backup takes its time. The others,
// which only read, may be called meanwhile, except that nothing is read while Expire removes. Each may be interrupted
// at any instruction, and is called again.
//
// A repository that is away, slow or full is Unavailable, with a sentence that says which. What is damaged, or was
// written with another key, is Invalid: it is never restored.
type Archiver interface {
	// RestorePoints tells to what nodes of an installation can be restored.
	RestorePoints(i Installation) backstay.RestorePoints
	// Backup copies a serving node into the repository without keeping anybody from writing. Once it has returned,
	// the backup is whole, and its checksums were compared. Gently is for one that nobody waits for: where that does
	// no harm, it gives way to all other processes of the machine, and may take many times as long on a busy one.
	Backup(ctx context.Context, n Node, r backstay.Repository, gently bool) (backstay.Backup, error)
	// Archive brings into the repository what the node has logged since the last call. It is called every few seconds
	// while the node serves, and once after it has ended. A piece of the log that is still being written is ended for it
	// when it is of that age, or nearly so. It removes what waits on the node's volume for a repository that is away
	// once that takes too much room, and tells of the gap, which stays in the repository.
	//
	// Over is for a node that has ended and is not started again: until then, which may be in the future, nothing else
	// serves the instance, so the archive reaches it. It is zero where the node goes on, or another one of its instance.
	Archive(ctx context.Context, n Node, r backstay.Repository, age time.Duration, over time.Time) (Archived, error)
	// Backups lists the whole backups in the repository, the oldest first. One of which it cannot be read what it is, is
	// left out where another can. Of n there need be no more than the Installation, a RunDir and the Account.
	Backups(ctx context.Context, n Node, r backstay.Repository) ([]backstay.Backup, error)
	// Reached tells what the repository itself says of its archive, whatever records are left: until when it reaches at
	// least, which is zero where it does not say, and all of its gaps that are behind a backup which is kept. Of n it
	// needs what Backups does.
	Reached(ctx context.Context, n Node, r backstay.Repository) (Archived, error)
	// Verify reads all backups that there are whole, and the archive behind them, and compares the checksums. What it
	// finds damaged is no error. Of n it needs what Backups does.
	Verify(ctx context.Context, n Node, r backstay.Repository) (Findings, error)
	// Expire removes all backups but those that are named and those that these need, and the archive that none of
	// them needs.
	Expire(ctx context.Context, n Node, r backstay.Repository, keep []string) error
	// Restore makes n's data directory, which is not there or was left by a Restore that was interrupted, so that
	// Prepare and a start follow; before these, the directory gets another name beside the one that it has. The
	// users that CreateUser has made do not exist any more once the node serves, and the administrator's password is
	// another one; the rest is as it was at the point. A backup that is not in the repository is NotFound. The error is
	// ErrLeft and Invalid if what the backup goes on with was left before the point, as by a return to an earlier moment:
	// an older backup may lead there.
	Restore(ctx context.Context, n Node, r backstay.Repository, to Point) error
}

// Unarchived is an Archiver of which some installations cannot be backed up as long as something is missing.
type Unarchived interface {
	// LacksForBackups says what that is, for an operator, as what comes behind a colon. It is empty if it is nothing.
	LacksForBackups(i Installation) string
}

// ErrLeft is that of a restore from a backup that does not lead to the point.
var ErrLeft = errors.New("what the backup goes on with was left before")

// Cloner is an Archiver that copies a node without a repository. All Archivers do: users are told that what can be
// backed up can be copied.
type Cloner interface {
	// Clone makes to's data directory as Restore does, from the node from, which serves and goes on serving. Where the
	// file system can, the two share their blocks. Progress is told what is done, as what comes behind a colon.
	Clone(ctx context.Context, from, to Node, progress func(string)) error
}

// WholeSecond is the first whole second that is not before t, in UTC: what is restored is of a whole second. An archive
// that reaches the end of a node reaches the next one too, since nothing is committed in between.
func WholeSecond(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

// BackupIDLayout is that of the second in which a backup began, in a name that NewBackupID has made.
const BackupIDLayout = "20060102T150405Z"

// NewBackupID names a backup of a tool that gives no names, by when it began, and by chance, since two may begin in one
// second: "20261127T210255Z-k3ja5x".
func NewBackupID(began time.Time) string {
	return began.UTC().Format(BackupIDLayout) + "-" + strings.ToLower(rand.Text()[:6])
}

// Archived is how far a repository follows a node.
type Archived struct {
	Until time.Time      // the last moment that can be restored; zero: the engine has no archive
	Gaps  []backstay.Gap // of Archive: those that were found since the last call
}

// Findings is what Verify has found.
type Findings struct {
	Backups map[string]string // by the ID of each backup that there is: what is damaged, as a sentence; empty: nothing
	Lost    []backstay.Gap    // what the archive has lost, or was never given, behind backups that are to go on with it
}

// Loss is the Gap that a part of an archive leaves which cannot be read. From is the last moment that can be restored
// with what comes before that part, zero if there is none; until is one behind it. Broken are the backups, the oldest
// first, behind which the part is needed, and spared those behind which it is not. Without the former there is no gap.
func Loss(from, until time.Time, broken, spared []backstay.Backup) (g backstay.Gap, any bool) {
	for _, b := range spared {
		if b.Ended.Before(until) {
			until = b.Ended
		}
	}
	for _, b := range broken {
		if from.IsZero() {
			from = b.Ended.Add(-time.Nanosecond)
		}
		if !until.After(b.Ended) {
			until = b.Ended.Add(time.Nanosecond)
		}
	}
	return backstay.Gap{From: from, Until: until}, len(broken) > 0
}

// Point is what a node is restored to.
type Point struct {
	Backup string    // the ID of the backup to begin with
	Until  time.Time // the last moment of the archive that is to be in it; zero: all of it
	Alone  bool      // the backup is restored as it is, without the archive
}
