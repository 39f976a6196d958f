package pgserver

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/repository"
)

// Verify has pgBackRest read the whole repository and compare the checksums: it can do no less. That segments of the
// log are missing, it does not say.
func (s Server) Verify(ctx context.Context, n engine.Node, r backstay.Repository) (f engine.Findings, err error) {
	t, err := s.openTool(ctx, n, r)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if f, err = t.verify(ctx); err == nil {
		err = repository.Reachable(ctx, r) // of what has gone in the middle, files are missing
	}
	return f, t.blame(ctx, err)
}

func (t *pgBackRest) verify(ctx context.Context) (f engine.Findings, err error) {
	sets, err := t.sets(ctx)
	if err != nil || len(sets) == 0 {
		return f, err
	}
	out, err := t.run(ctx, true, "--output=text", "--verbose", "--log-level-console=info", "verify")
	if err != nil {
		return f, err
	}
	read, err := readReport(string(out))
	if err != nil {
		return f, err
	}
	log, err := t.archivedLog(ctx, read.spoiled)
	if err != nil {
		return f, err
	}
	f.Backups = map[string]string{}
	for _, s := range sets {
		if f.Backups[s.Label] = ""; !read.whole[s.Label] {
			f.Backups[s.Label] = "A part of it is damaged or gone."
		}
	}
	err = t.addLost(ctx, &f, sets, log)
	return f, err
}

// report is what a verification says.
type report struct {
	whole   map[string]bool // by the label of a backup
	spoiled map[string]bool // by the path of a segment below the archive
}

var (
	verifiedBackup = regexp.MustCompile(`(?m)^\s*backup: (\S+), status: (\w+)`)
	// notSound matches what is said of a file, with its path, and the number of the error if it could not be read.
	notSound = regexp.MustCompile(`(?m)^P\d+\s+\w+: (?:file missing|invalid (?:checksum|size|result)) '?([^\s':]+)'?` +
		`(?:: \[0*(\d+)\])?`)
	unusable = regexp.MustCompile(`(?m)^\s*(No usable \S+ file)`)
)

// readReport fails if files could not be read for a reason that is no damage.
func readReport(text string) (r report, err error) {
	if match := unusable.FindStringSubmatch(text); match != nil {
		return r, &toolFailure{codeFormat, match[1]}
	}
	r = report{map[string]bool{}, map[string]bool{}}
	for _, match := range verifiedBackup.FindAllStringSubmatch(text, -1) {
		r.whole[match[1]] = match[2] == "valid"
	}
	for _, match := range notSound.FindAllStringSubmatch(text, -1) {
		if code, err := strconv.Atoi(match[2]); err == nil && !slices.Contains(spoiledCodes, code) {
			return r, backstay.Wrapf(fmt.Errorf("pgbackrest verify: %s", match[0]), backstay.Unavailable,
				"The repository cannot be read whole.")
		}
		r.spoiled[match[1]] = true
	}
	return r, nil
}
