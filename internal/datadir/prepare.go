package datadir

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"

	"github.com/backstay/backstay"
)

// Plan is how an engine describes the data directory that a node is to have.
type Plan struct {
	Product  string // the name by which users know what it is for: "PostgreSQL 15"
	Program  string // path of the server, without which nothing is made
	Dir      string
	UID, GID int               // the owner of everything in Dir; -1 is ours
	Files    map[string]string // the configuration, keyed by name in Dir
	Used     bool              // what is missing is not made
	// Fits returns an error if the server could not serve the data in Dir.
	Fits func() error
	// Make makes a directory of another name, which will become Dir, with everything but Files in it.
	Make func(part string) error
}

// Check returns the error that Prepare would return because the program is missing or the data in Dir does not fit. It
// changes nothing. Errors have a Kind and a sentence.
func (p Plan) Check() error {
	_, err := p.examine()
	return p.blame(err)
}

// Prepare makes the data directory, unless it is there: under another name first, which it changes when everything in
// the directory is safe on the disk. In a directory that is there, Prepare writes Files and touches nothing else.
func (p Plan) Prepare() error {
	there, err := p.examine()
	switch {
	case err != nil:
	case there:
		err = WriteFiles(p.Dir, p.UID, p.GID, p.Files)
	case p.Used:
		err = p.missing()
	default:
		err = Create(p.Dir, func(part string) error {
			if err := p.Make(part); err != nil {
				return err
			}
			return Fill(part, p.UID, p.GID, p.Files)
		})
	}
	return p.blame(err)
}

// Reconfigure writes Files into the data directory of a node that runs. Where the directory is missing, nothing is
// made in its place.
func (p Plan) Reconfigure() error {
	there, err := p.examine()
	if err == nil && !there {
		err = p.missing()
	}
	if err == nil {
		err = WriteFiles(p.Dir, p.UID, p.GID, p.Files)
	}
	return p.blame(err)
}

func (p Plan) missing() error {
	return backstay.Errorf(backstay.Unavailable, "The data directory of %s is missing.", p.Product)
}

// Written reports whether Reconfigure would write nothing.
func (p Plan) Written() (bool, error) {
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return false, p.blame(err)
	}
	defer root.Close()
	for name, want := range p.Files {
		if content, err := root.ReadFile(name); err != nil || string(content) != want {
			return false, nil
		}
	}
	return true, nil
}

// examine reports whether the directory is there. It only looks for the program: running it would take longer than
// everything else here.
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
