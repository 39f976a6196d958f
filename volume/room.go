package volume

import (
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// beginning is what an engine writes to a new volume until it serves, or about that.
const beginning = 128 * backstay.MB

// Newcomer is what a new volume takes of the pool, so that an engine can begin on it and has its last room afterwards.
const Newcomer = Log + beginning + Last

// Room looks at the disk and at all volumes. One that is not mounted counts as well: it will be.
func (p *Images) Room() (room Room, err error) {
	all, err := p.openAll()
	defer all.close()
	if err != nil {
		return room, err
	}
	if room, err = roomOf(p.Root, p.Reserve); err != nil {
		return room, err
	}
	for _, m := range all.mounted {
		room.Kept += m.keeps()
	}
	for _, v := range all.others {
		room.Kept += v.keeps()
	}
	room.Volumes = all.ids
	return room, nil
}

// keeps is what of the pool is kept for the volume, and for no newer one.
func (m *mounted) keeps() backstay.Bytes {
	return m.owed() + min(m.room(), max(Last, beginning+Last-m.used()))
}

func (v volume) keeps() backstay.Bytes {
	var image unix.Stat_t
	if err := unix.Stat(v.image, &image); err != nil {
		return Newcomer
	}
	return max(Last, Newcomer-backstay.Bytes(image.Blocks*512))
}
