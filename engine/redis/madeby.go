package redis

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Where the server keeps its data, below the data directory.
const (
	dataFiles    = "appendonlydir"
	manifestFile = "appendonly.aof.manifest" // says which files of dataFiles count
)

// Essential names the list of the files with data. Without it the server makes all of them anew, empty.
func (Engine) Essential(engine.Node) []string { return []string{path.Join(dataFiles, manifestFile)} }

// fits refuses data that a newer version made, or a product whose files the server does not read. Damaged files are
// not looked for, except for the users: the server complains of the others when it starts.
func fits(n engine.Node) error {
	if err := fitUsers(n.DataDir); err != nil {
		return err
	}
	by, version, err := madeBy(n.DataDir)
	if err != nil || version == "" {
		return err
	}
	here := productOf(n.Installation)
	newest := n.Installation.Version
	if by.name != here.name {
		newest = here.readsRedis
	}
	if newest != "" && engine.CompareVersions(version, newest) <= 0 {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported, "The data was made by %s %s and cannot be served by %s %s.",
		by.name, version, here.name, n.Installation.Version)
}

// fitUsers refuses a file of users without those that each server has. The server would accept it, if only it can be
// read, and let everybody in who names no user, without a password.
func fitUsers(dataDir string) error {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return err
	}
	defer root.Close()
	text, err := readStart(root, usersFile, 16<<20)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range []string{"default", operator} {
		if !strings.Contains("\n"+string(text), "\nuser "+name+" ") {
			return backstay.Errorf(backstay.Unavailable,
				"The file with the database's users, %s, is missing or damaged.", usersFile)
		}
	}
	return nil
}

// inBase matches the line of the manifest that names the base file: the one with all data of a moment.
var inBase = regexp.MustCompile(`(?m)^file (\S+) seq \d+ type b$`)

// made matches the beginning of the base file: the version of the format, a byte that announces a pair of words, and
// the pair "redis-ver" and the version that wrote the file, each word behind a byte with its length.
var made = regexp.MustCompile(`(?s)^(?:REDIS|VALKEY)\d+..(redis|valkey)-ver.(\d+\.\d+)\.\d+`)

// madeBy returns the product and the version that wrote the data, and an empty version where there is no data, or
// where it does not say. The directory may belong to a server that was broken into, so links out of it are not
// followed.
func madeBy(dataDir string) (p product, version string, err error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return p, "", err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	manifest, err := readStart(root, path.Join(dataFiles, manifestFile), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return p, "", nil
	}
	base := inBase.FindSubmatch(manifest)
	if err != nil || base == nil {
		return p, "", err
	}
	header, err := readStart(root, path.Join(dataFiles, string(base[1])), 64)
	writer := made.FindSubmatch(header)
	if err != nil || writer == nil {
		return p, "", err
	}
	i := slices.IndexFunc(products, func(p product) bool { return strings.EqualFold(p.name, string(writer[1])) })
	return products[i], string(writer[2]), nil
}

func readStart(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
