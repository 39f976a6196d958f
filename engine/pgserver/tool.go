package pgserver

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// knownSince is the release of pgBackRest from which on it knows a version of PostgreSQL, as the server came out in the
// end. One that is not here, nobody has tried.
var knownSince = map[string]string{
	"13": "2.30", "14": "2.34", "15": "2.41", "16": "2.48", "17": "2.53.1", "18": "2.56",
}

// RestorePoints are there where pgBackRest is, and knows the server.
func (s Server) RestorePoints() backstay.RestorePoints {
	if s.LacksForBackups() != "" {
		return backstay.NoRestorePoints
	}
	return backstay.AnySecond
}

// LacksForBackups says what the server lacks to be backed up. It is empty if it lacks nothing.
func (s Server) LacksForBackups() string {
	since, ok := knownSince[s.Version]
	if !ok {
		return "it is not known which pgBackRest knows PostgreSQL " + s.Version
	}
	program := s.tool()
	release := releaseOf(program)
	switch {
	case release == "":
		return "pgBackRest is not installed: it takes release " + since + " or a later one"
	case engine.CompareVersions(release, since) < 0:
		return fmt.Sprintf("%s is pgBackRest %s, which does not know PostgreSQL %s: it takes release %s or a later one",
			program, release, s.Version, since)
	}
	return ""
}

// tool returns the program of pgBackRest: the one that lies beside PostgreSQL's, since one of the same release knows
// it, or else the machine's.
func (s Server) tool() string {
	dir := s.Programs
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	beside := filepath.Join(dir, "../../../../bin/pgbackrest")
	if unix.Access(beside, unix.X_OK) == nil {
		return beside
	}
	if found, err := exec.LookPath("pgbackrest"); err == nil {
		return found
	}
	return "pgbackrest"
}

// releases are those that programs have told of, by the file that was asked.
var releases sync.Map

var reported = regexp.MustCompile(`^pgBackRest ([0-9]+(?:\.[0-9]+)*)`)

// releaseOf asks a program for its release, once for each file that is there under its name. It is empty if there is
// none that tells it.
func releaseOf(program string) string {
	var file unix.Stat_t
	if err := unix.Stat(program, &file); err != nil {
		return ""
	}
	type asked struct {
		dev, ino     uint64
		changed, sub int64
	}
	key := asked{file.Dev, file.Ino, file.Ctim.Sec, file.Ctim.Nsec}
	if known, ok := releases.Load(key); ok {
		return known.(string)
	}
	cmd := exec.Command(program, "version")
	cmd.Env = Environment
	out, err := cmd.Output()
	match := reported.FindSubmatch(out)
	if err != nil || match == nil {
		return ""
	}
	releases.Store(key, string(match[1]))
	return string(match[1])
}
