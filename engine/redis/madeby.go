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
	by, err := madeBy(n.DataDir)
	if err != nil || by.Version == "" {
		return err
	}
	return by.readableFor(n.Installation)
}

// writer is the product and the version that have written an RDB file.
type writer struct {
	Product string `json:"product"`
	Version string `json:"version"` // as plans name it: "7.0"
}

// readableFor refuses what the installation does not read.
func (w writer) readableFor(i engine.Installation) error {
	here, newest := productOf(i), i.Version
	if w.Product != here.name {
		newest = here.readsRedis
	}
	if newest != "" && engine.CompareVersions(w.Version, newest) <= 0 {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported, "The data was made by %s %s and cannot be served by %s %s.",
		w.Product, w.Version, here.name, i.Version)
}

// fitUsers refuses a file of users without those that each server has. The server would accept it, if only it can be
// read, and let everybody in who names no user, without a password.
func fitUsers(dataDir string) error {
	users, err := readUsers(dataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range []string{"default", operator} {
		if !strings.Contains("\n"+users, "\nuser "+name+" ") {
			return backstay.Errorf(backstay.Unavailable,
				"The file with the database's users, %s, is missing or damaged.", usersFile)
		}
	}
	return nil
}

// readUsers returns the server's file of users. Links out of the directory are not followed.
func readUsers(dataDir string) (string, error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	text, err := readStart(root, usersFile, 16<<20)
	return string(text), err
}

// inBase matches the line of the manifest that names the base file: the one with all data of a moment.
var inBase = regexp.MustCompile(`(?m)^file (\S+) seq \d+ type b$`)

// made matches the beginning of an RDB file: the version of the format, a byte that announces a pair of words, and the
// pair "redis-ver" and the version that wrote the file, each word behind a byte with its length.
var made = regexp.MustCompile(`(?s)^(?:REDIS|VALKEY)\d+..(redis|valkey)-ver.(\d+\.\d+)\.\d+`)

// headerSize is where what made matches has ended.
const headerSize = 64

// writerOf returns who has written a file that begins so; it is empty where the file does not say.
func writerOf(header []byte) writer {
	match := made.FindSubmatch(header)
	if match == nil {
		return writer{}
	}
	i := slices.IndexFunc(products, func(p product) bool { return strings.EqualFold(p.name, string(match[1])) })
	return writer{products[i].name, string(match[2])}
}

// madeBy returns who has written the data; it is empty where there is no data, or where it does not say. The directory
// may belong to a server that was broken into, so links out of it are not followed.
func madeBy(dataDir string) (by writer, err error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return by, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	manifest, err := readStart(root, path.Join(dataFiles, manifestFile), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return by, nil
	}
	base := inBase.FindSubmatch(manifest)
	if err != nil || base == nil {
		return by, err
	}
	header, err := readStart(root, path.Join(dataFiles, string(base[1])), headerSize)
	return writerOf(header), err
}

func readStart(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
