package build

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/engine"
)

// traces is how the places that an engine is installed in look, without a look at the files. Packages put a new file
// beside the old one and then give it its name, which changes the directory.
type traces struct {
	text    string
	changed time.Time // the newest change of a directory
}

func (t traces) same(other traces) bool { return t.text == other.text }

// settling is how long nothing must have changed until what is installed is looked at anew. Packages that belong
// together are replaced one after the other.
const settling = 2 * time.Second

// settled tells whether nothing has changed of late. A directory from the future does not count.
func (t traces) settled(now time.Time) bool {
	age := now.Sub(t.changed)
	return age < 0 || age >= settling
}

// tracesOf are empty for an engine that names none.
func tracesOf(e engine.Engine) (t traces) {
	k, ok := e.(engine.Keepable)
	if !ok {
		return t
	}
	var b strings.Builder
	for _, pattern := range k.Traces() {
		there, _ := filepath.Glob(pattern)
		for _, path := range there {
			info, err := os.Stat(path)
			if err != nil {
				continue
			}
			fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
			if info.IsDir() && info.ModTime().After(t.changed) {
				t.changed = info.ModTime()
			}
		}
	}
	t.text = b.String()
	return t
}

// errReplacing says that files of an installation are being replaced.
var errReplacing = errors.New("its package is being replaced")

// beingMade end the names of files that dpkg has unpacked and not yet put in their places.
var beingMade = []string{".dpkg-new", ".dpkg-tmp"}

// fingerprint tells the files from every other set of files: by names, modes, sizes and times, as far as a package
// sets them. It is errReplacing where dpkg is at work on them.
func fingerprint(root string, names []string) (string, error) {
	sum := sha256.New()
	for _, name := range slices.Sorted(slices.Values(names)) {
		from, err := filepath.EvalSymlinks(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		for _, ending := range beingMade {
			if _, err := os.Lstat(from + ending); err == nil {
				return "", errReplacing
			}
		}
		err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			line, err := describe(path, d)
			fmt.Fprintf(sum, "%s%s %s\n", name, strings.TrimPrefix(path, from), line)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%.4x", sum.Sum(nil)), nil
}

func describe(path string, d fs.DirEntry) (string, error) {
	for _, ending := range beingMade {
		if strings.HasSuffix(path, ending) {
			return "", errReplacing
		}
	}
	switch d.Type() {
	case fs.ModeDir:
		return "directory", nil
	case fs.ModeSymlink:
		return os.Readlink(path)
	}
	info, err := d.Info()
	if err != nil {
		return "", err
	}
	return fmt.Sprint(info.Mode(), info.Size(), info.ModTime().UnixNano()), nil
}
