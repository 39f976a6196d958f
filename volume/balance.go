package volume

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

const ballastName = ".ballast"

// Balance sets the ballast of all mounted volumes. One that is not mounted cannot grow. Where it fails for some of
// them, because their file systems are damaged, it does its work for the others.
func (p *Images) Balance() (Room, error) {
	room, failed, err := p.balance()
	return room, errors.Join(append(slices.Collect(maps.Values(failed)), err)...)
}

// settle balances for one volume: that another one is damaged is not its failure.
func (p *Images) settle(id backstay.InstanceID) error {
	_, failed, err := p.balance()
	return errors.Join(failed[id], err)
}

// balance does Balance's work, and returns for which volumes it failed.
func (p *Images) balance() (room Room, failed map[backstay.InstanceID]error, err error) {
	p.balancing.Lock()
	defer p.balancing.Unlock()
	all, err := p.openAll()
	defer all.close()
	if err != nil {
		return Room{}, all.failed, err
	}
	if room, err = roomOf(p.Root, p.Reserve); err != nil {
		return Room{}, all.failed, err
	}
	wants := p.wants(all.mounted)
	spare := room.Free - room.Reserve - Last*backstay.Bytes(len(all.others))
	for id, m := range all.mounted {
		spare -= m.owed()
		room.Promised += m.owed() + wants[id].room
	}
	gifts := divide(spare, spare+room.Reserve/lastOfReserve, wants)
	for id, m := range all.mounted {
		room.Given += m.owed() + gifts[id]
		room.Narrow = room.Narrow || wants[id].isShort(gifts[id])
	}
	p.setBallasts(all.mounted, gifts, all.failed)
	return room, all.failed, nil
}

// lastOfReserve is which part of the reserve volumes may have their last room of, where the platform has used up what
// else there was.
const lastOfReserve = 2

// roomOf looks at the disk that root is on.
func roomOf(root string, reserve backstay.Bytes) (Room, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(root, &disk); err != nil {
		return Room{}, err
	}
	return Room{Free: backstay.Bytes(int64(disk.Bavail) * disk.Bsize), Reserve: reserve}, nil
}

// opened are all volumes of a pool.
type opened struct {
	ids     []backstay.InstanceID
	mounted map[backstay.InstanceID]*mounted // which are held open
	others  []volume
	failed  map[backstay.InstanceID]error // why some of the others cannot be held open
}

func (o opened) close() {
	for _, m := range o.mounted {
		m.close()
	}
}

// openAll holds open all volumes that are mounted.
func (p *Images) openAll() (opened, error) {
	all := opened{mounted: map[backstay.InstanceID]*mounted{}, failed: map[backstay.InstanceID]error{}}
	var err error
	all.ids, err = p.Found()
	for _, id := range all.ids {
		v := p.volume(id)
		m, cannot := v.open()
		if cannot == nil {
			all.mounted[id] = m
			continue
		}
		all.others = append(all.others, v)
		if backstay.KindOf(cannot) != backstay.NotFound {
			all.failed[id] = fmt.Errorf("look at volume %s: %w", id, cannot)
		}
	}
	return all, err
}

// wants tells what each volume could take by its size, and remembers how quickly it grows.
func (p *Images) wants(volumes map[backstay.InstanceID]*mounted) map[backstay.InstanceID]want {
	seen, wants := map[backstay.InstanceID]grown{}, map[backstay.InstanceID]want{}
	for id, m := range volumes {
		now := grown{to: m.allocated}
		if before, known := p.allocated[id]; known {
			now.pace = before.pace/2 + max(0, m.allocated-before.to)
		}
		seen[id] = now
		wants[id] = want{room: m.room(), free: m.free(), pace: now.pace, used: m.used()}
	}
	p.allocated = seen
	return wants
}

// setBallasts first takes and then gives, so that at no time more is given than there is. It notes where that failed.
func (p *Images) setBallasts(
	volumes map[backstay.InstanceID]*mounted, gifts map[backstay.InstanceID]backstay.Bytes,
	failed map[backstay.InstanceID]error,
) {
	byChange := func(a, b backstay.InstanceID) int {
		return int(gifts[a]-volumes[a].free()) - int(gifts[b]-volumes[b].free())
	}
	for _, id := range slices.SortedFunc(maps.Keys(volumes), byChange) {
		m := volumes[id]
		if more := gifts[id] - m.free(); more != 0 {
			if err := p.slow.do(id, m, func(m *mounted) error { return m.setBallast(m.ballast - more) }); err != nil {
				failed[id] = fmt.Errorf("set the ballast of volume %s: %w", id, err)
			}
		}
	}
}

// weigh looks at what the file system has, and finds out what of it the ballast takes.
func (m *mounted) weigh() error {
	if err := unix.Fstatfs(int(m.dir.Fd()), &m.fs); err != nil {
		return err
	}
	if m.fs.Type == unix.EXT4_SUPER_MAGIC {
		m.ballast = backstay.Bytes(int64(m.fs.Bfree-m.fs.Bavail) * m.fs.Bsize)
		m.inodes = (backstay.Bytes(m.fs.Files-m.fs.Ffree)*inodeSize + blockSize - 1) / blockSize * blockSize
		return nil
	}
	var file unix.Stat_t
	err := unix.Fstatat(int(m.dir.Fd()), ballastName, &file, unix.AT_SYMLINK_NOFOLLOW)
	m.ballast = backstay.Bytes(file.Blocks * 512)
	return ignoreAbsent(err)
}

// setBallast makes the ballast take size, or all that there is. Its space is reserved and never written, so that the
// image does not grow.
func (m *mounted) setBallast(size backstay.Bytes) error {
	if m.fs.Type == unix.EXT4_SUPER_MAGIC {
		return m.reserve(size)
	}
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(m.dir.Fd()), ballastName, flags, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), ballastName)
	defer f.Close()
	if size = max(0, size+blockSize-1) / blockSize * blockSize; size <= m.ballast {
		return f.Truncate(int64(size))
	}
	return lengthen(f, int64(size))
}

const (
	blockSize = 4 * backstay.KB // of the file system
	// crumb is what is not worth taking: XFS wants more free than it takes.
	crumb = 64 * backstay.KB
)

// lengthen makes the file as long as size, or as there is room: a writer may be quicker. XFS refuses to reserve a range
// that is larger than what is free, even if a part of it is reserved already; so only what is new is asked for.
func lengthen(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	for chunk := size - end; end < size && chunk >= int64(crumb); chunk = min(chunk, size-end) {
		err := unix.Fallocate(int(f.Fd()), 0, end, chunk)
		if err == nil {
			end += chunk
			continue
		}
		if !errors.Is(err, unix.ENOSPC) {
			return err
		}
		if err := f.Truncate(end); err != nil { // what it had reserved behind the end before it failed
			return err
		}
		chunk = chunk / 2 / int64(blockSize) * int64(blockSize)
	}
	return nil
}
