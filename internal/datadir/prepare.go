package datadir

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
)

// Plan is what a node's data directory is to be, in the words of its engine.
type Plan struct {
	Product  string // what it is made for, as users know it: "PostgreSQL 15"
	Program  string // the path of the server, without which nothing is made
	Dir      string
	UID, GID int               // whose everything in Dir is; -1 is ours
	Files    map[string]string // what the configuration consists of, keyed by name; it is written each time
	// Fits tells whether the server could serve the data that lies in Dir.
	Fits func() error
	// Make makes a directory of another name, which is to become Dir, with all but Files in it.
	Make func(part string) error
}

// Check tells whether Prepare would be refused for want of the program, or for the data that is there. It
// changes nothing. Errors have a Kind and a sentence, as those of Prepare have.
func (p Plan) Check() error {
	_, err := p.examine()
	return p.blame(err)
}

// Prepare makes the data directory as planned, unless it is there: by a rename, when all that is in it is
// safe on the disk. In one that is there it brings the files up to date, and touches nothing else.
func (p Plan) Prepare() error {
	there, err := p.examine()
	if err == nil && there {
		err = WriteFiles(p.Dir, p.UID, p.GID, p.Files)
	} else if err == nil {
		err = Create(p.Dir, func(part string) error {
			if err := p.Make(part); err != nil {
				return err
			}
			return Fill(part, p.UID, p.GID, p.Files)
		})
	}
	return p.blame(err)
}

// examine tells whether the directory is there. Whether the program runs shows when it is run: asking would
// take longer than all that is left to do here.
func (p Plan) examine() (there bool, err error) {
	if _, err := exec.LookPath(p.Program); err != nil {
		return false, err
	}
	switch _, err := os.Lstat(p.Dir); {
	case err == nil:
		return true, p.Fits()
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, err
	}
}

func (p Plan) blame(err error) error {
	if err == nil {
		return nil
	}
	return Blame(p.Product, err)
}
