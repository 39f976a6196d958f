package volume

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/backstay/backstay"
)

// fileSystem is what an image has in it.
type fileSystem struct {
	name     string         // as the kernel knows it
	options  string         // to mount it with
	prepared string         // the name of the image that others are copies of
	size     backstay.Bytes // of that image
	largest  backstay.Bytes // that a volume can be
	make     func(image string) (command []string)
}

// Log is what the log of a volume takes, besides its size. It is the least that mkfs.xfs accepts, and all of it is
// written to the pool in time.
const Log = 64 * backstay.MB

// xfs is that large from the beginning, as it has parts of one size for ever: one that grows from 2 GB to 2 TB would
// have thousands, and be slow. It takes what is beyond the largest volume for notes about itself, that are written as
// needed. All copies have one identifier, which XFS is told to overlook.
var xfs = &fileSystem{
	name: "xfs", options: "nouuid,discard", prepared: "prepared",
	size: 8 * backstay.TB, largest: 7 * backstay.TB, make: makeXFS,
}

// ext4 has files that the kernel encrypts (fscrypt). It cannot grow without CAP_SYS_RESOURCE; for each TB it takes 2 MB
// of memory while it is mounted. Its tables of inodes are not to be written before they are used.
var ext4 = &fileSystem{
	name: "ext4", options: "discard,noinit_itable,errors=remount-ro", prepared: "prepared-encrypted",
	size: 4 * backstay.TB, largest: 7 * backstay.TB / 2, make: makeExt4,
}

// makeXFS makes the file system for sectors of 4096 bytes, which every disk can write. For those of 512 bytes, which
// mkfs.xfs chooses on most machines, it would not be mounted on a disk that has larger ones only.
func makeXFS(image string) []string {
	return []string{"mkfs.xfs", "-q", "-f", "-K", "-s", fmt.Sprintf("size=%d", int64(blockSize)),
		"-l", fmt.Sprintf("size=%d", Log), image}
}

// inodeSize is that of ext4.
const inodeSize = 256

// makeExt4 makes the file system with a million inodes, no copies of its superblock, nothing for root alone, and as
// little written as can be: where the notes of 1024 groups of blocks lie together, few groups have any.
func makeExt4(image string) []string {
	return []string{"mkfs.ext4", "-q", "-F", "-m", "0", "-b", fmt.Sprint(int64(blockSize)),
		"-i", fmt.Sprint(int64(4 * backstay.MB)), "-I", fmt.Sprint(inodeSize),
		"-J", fmt.Sprintf("size=%d", Log/backstay.MB), "-G", "1024",
		"-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1,num_backup_sb=0",
		"-O", "encrypt,sparse_super2,^resize_inode", image}
}

// makeIn makes the file system in an image. The program that does so outlives us if we are killed, and has the lock
// until it ends.
func (fs *fileSystem) makeIn(ctx context.Context, image string, lock *os.File) error {
	command := fs.make(image)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.ExtraFiles = []*os.File{lock}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command[0], err, output)
	}
	return nil
}
