package volume

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// Directories is a pool of directories, for machines and users that can have nothing better. How much is in each is
// looked at, and nothing keeps it from growing.
type Directories struct {
	Root    string         // a directory, in which each volume is one
	Reserve backstay.Bytes // what Balance reports
}

// Enforced tells that volumes can grow beyond their size.
func (p *Directories) Enforced() bool { return false }

func (p *Directories) dir(id backstay.InstanceID) string { return filepath.Join(p.Root, string(id)) }

// Ensure makes the directory, in which nothing can be encrypted.
func (p *Directories) Ensure(_ context.Context, id backstay.InstanceID, wanted Wanted) (string, error) {
	if wanted.Key != "" {
		return "", backstay.Errorf(backstay.Unsupported, "Volumes are directories on this machine: they are not encrypted.")
	}
	return p.dir(id), os.MkdirAll(p.dir(id), 0o711)
}

// Mount looks for the directory.
func (p *Directories) Mount(_ context.Context, id backstay.InstanceID, _ Wanted) (string, error) {
	_, err := os.Stat(p.dir(id))
	return p.dir(id), absent(err)
}

// Unmount has nothing to do.
func (p *Directories) Unmount(context.Context, backstay.InstanceID) error { return nil }

// Remove removes the directory.
func (p *Directories) Remove(_ context.Context, id backstay.InstanceID) error {
	return os.RemoveAll(p.dir(id))
}

// Found lists the directories.
func (p *Directories) Found() ([]backstay.InstanceID, error) {
	entries, err := os.ReadDir(p.Root)
	found := make([]backstay.InstanceID, len(entries))
	for i, e := range entries {
		found[i] = backstay.InstanceID(e.Name())
	}
	return found, ignoreAbsent(err)
}

// Usage counts what all files take on the disk. A file may go while it counts.
func (p *Directories) Usage(id backstay.InstanceID) (Usage, error) {
	room, err := roomOf(p.dir(id), p.Reserve)
	if err != nil {
		return Usage{}, absent(err)
	}
	usage := Usage{Free: max(0, room.Free-room.Reserve)}
	return usage, filepath.WalkDir(p.dir(id), func(path string, _ fs.DirEntry, err error) error {
		var file unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &file)
		}
		usage.Used += backstay.Bytes(file.Blocks * 512)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
}

// EncryptedBy tells that nothing is.
func (p *Directories) EncryptedBy(id backstay.InstanceID) (string, error) {
	_, err := os.Stat(p.dir(id))
	return "", absent(err)
}

// Balance has nothing to share out.
func (p *Directories) Balance() (Room, error) { return p.Room() }

// Room looks at the disk, of which nothing is kept for anybody.
func (p *Directories) Room() (Room, error) { return roomOf(p.Root, p.Reserve) }
