package redis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/wait"
)

// Clone copies the files of the append-only file, to which the server only appends, as long as its manifest names the
// same ones. If the server begins new ones meanwhile, those are copied. It has nothing to do for it, and no memory to
// find.
func (e Engine) Clone(ctx context.Context, from, to engine.Node, progress func(string)) error {
	if err := e.reads(from, to); err != nil {
		return err
	}
	if err := awaitWritten(ctx, from); err != nil {
		return err
	}
	progress("the data is copied.")
	return wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		err = makeDataOf(to, func(dir string) error { return copyData(dir, from.DataDir) })
		return errors.Is(err, errChanged), err
	})
}

// errChanged says that the server has begun another file while its files were copied.
var errChanged = errors.New("the server has rewritten its files meanwhile")

// inManifest matches the lines of the manifest that name files with data.
var inManifest = regexp.MustCompile(`(?m)^file ([\w.-]+) seq \d+ type [bi]$`)

// copyData copies the files that the manifest names, and then the manifest. The directory may belong to a server that
// was broken into, so links out of it are not followed.
func copyData(dir, dataDir string) error {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return err
	}
	defer root.Close()
	manifest, err := readManifest(root)
	if err != nil {
		return err
	}
	var copied error
	for _, match := range inManifest.FindAllSubmatch(manifest, -1) {
		name := string(match[1])
		copied = errors.Join(copied, copyFile(filepath.Join(dir, name), root, path.Join(dataFiles, name)))
	}
	now, err := readManifest(root)
	if err != nil || string(now) != string(manifest) {
		return errors.Join(err, errChanged)
	}
	if copied != nil {
		return copied
	}
	return os.WriteFile(filepath.Join(dir, manifestFile), manifest, 0o600)
}

func readManifest(root *os.Root) ([]byte, error) {
	return readStart(root, path.Join(dataFiles, manifestFile), 1<<20)
}

func copyFile(to string, root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file: %w", name, fs.ErrInvalid)
	}
	file, err := root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return clone.File(to, file)
}

// writtenLimit is how long the server may put off writing what it has told clients is written.
const writtenLimit = 10 * time.Second

// awaitWritten waits until what clients had been told is written before is in the server's files. It puts that off
// while its disk is slow.
func awaitWritten(ctx context.Context, n engine.Node) error {
	ctx, cancel := context.WithTimeout(ctx, writtenLimit)
	defer cancel()
	err := withOperator(ctx, n, func(c *redis.Client) error {
		wanted, err := askWriting(ctx, c)
		if err != nil || wanted.waits == 0 {
			return err
		}
		return wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
			now, err := askWriting(ctx, c)
			if err != nil || now.waits == 0 || now.size >= wanted.size+wanted.waits {
				return false, err
			}
			if now.size < wanted.size { // the server has rewritten its files
				wanted = now
			}
			return true, errNotWritten
		})
	})
	if errors.Is(err, errNotWritten) {
		return backstay.Wrapf(err, backstay.Unavailable, "The disk of the database is too slow to copy it now.")
	}
	return err
}

var errNotWritten = errors.New("the server has not written everything")

// writing is how far the server's files are.
type writing struct {
	size  int64 // of them
	waits int64 // bytes to be written
}

func askWriting(ctx context.Context, c *redis.Client) (w writing, err error) {
	info, err := c.Info(ctx, "persistence").Result()
	if err != nil {
		return w, err
	}
	for _, match := range infoNumber.FindAllStringSubmatch(info, -1) {
		number, _ := strconv.ParseInt(match[2], 10, 64) // it is digits
		switch match[1] {
		case "aof_current_size":
			w.size = number
		case "aof_buffer_length":
			w.waits = number
		}
	}
	return w, nil
}
