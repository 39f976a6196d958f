package instance

import (
	"fmt"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/volume"
)

// fill is how full an instance's volume is, as far as something is done about it.
type fill int

const (
	roomy      fill = iota
	nearlyFull      // its users are told
	full            // what clients write is refused
	spent           // and what they write nevertheless is interrupted
)

// room is the room that an instance has.
type room struct {
	storage backstay.Bytes // that its plan promises
	kept    backstay.Bytes // that its volume has besides: for the engine, and for deleting
	free    backstay.Bytes // what can be written now
	held    backstay.Bytes // what its volume's size allows besides, and the disk below cannot give now
	watched bool           // nothing keeps it to its plan: users are told, and nothing is refused
}

// left is what is left of the storage; negative: it writes into what is kept.
func (r room) left() backstay.Bytes { return r.free + r.held - r.kept }

// used is how much of the storage is used, in percent. More than all of it is what nothing has kept to it.
func (r room) used() int {
	used := int(100 * (r.storage - r.left()) / r.storage)
	if r.watched {
		return used
	}
	return min(100, used)
}

// isShort tells whether the disk below cannot give what the plan promises, and what is kept. What can be written is
// then what the volume has until the next look at the disk, if there is any more to be had.
func (r room) isShort() bool { return r.held > rounding && r.left() > 0 && r.free < r.kept }

// rounding is what a volume may lack though the disk has it.
const rounding = 4 * backstay.MB

// Where the disk below is short, a volume may have little room for a while and then get more, so what counts as none is
// less than what is kept, and than the last room that the pool leaves each: with that one, it writes again. It is
// enough for an engine to end in an orderly way, and for a session to delete.
const (
	shortRoom  = volume.Last * 5 / 8
	shortSpent = volume.Last * 3 / 8
)

// next says how full the volume is, which was found to be before the last time. What has begun goes on until there is
// clearly more room than it takes to begin, or it would begin and end again and again: an engine's log alone may come
// and go with a tenth of the storage.
func (r room) next(before fill) fill {
	switch {
	case !r.watched && r.isSpent(before == spent):
		return spent
	case !r.watched && r.isFull(before >= full):
		return full
	case r.isNearlyFull(before >= nearlyFull):
		return nearlyFull
	}
	return roomy
}

func (r room) isSpent(already bool) bool {
	limit := r.kept / 2
	if r.isShort() {
		limit = min(limit, shortSpent)
	}
	if already {
		limit += limit / 2
	}
	return r.free < limit
}

func (r room) isFull(already bool) bool {
	if !already {
		return r.left() <= 0 || r.isShort() && r.free <= shortRoom
	}
	return r.left() <= r.storage/10 || r.isShort() && r.free <= shortRoom*3/2
}

func (r room) isNearlyFull(already bool) bool {
	limit := r.storage / 10
	if already {
		limit += r.storage / 50
	}
	return r.left() <= limit
}

// Kinds of the troubles of a full instance.
const (
	storageTrouble  = "storage"
	readOnlyTrouble = "read_only"
)

const morePlan = "a plan with more storage (`cf update-service NAME -p PLAN`)"

// told returns what users read of how full the volume is, and of what is refused for that; empty: nothing. MakingRoom
// is the engine's word on how to delete; it is empty where clients can delete as they always do.
func (r room) told(f fill, makingRoom string) (storage, readOnly string) {
	if f >= nearlyFull {
		storage = fmt.Sprintf("%d%% of the plan's %v of storage are used.", r.used(), r.storage)
	}
	if f == nearlyFull {
		storage += " There is room in " + morePlan + "."
	}
	if f < full {
		return storage, ""
	}
	how := ""
	if makingRoom != "" {
		how = " (" + makingRoom + ")"
	}
	if r.isShort() {
		return storage, "The operator's disk is full: it is read-only until there is more room, or data is deleted" +
			how + "."
	}
	return storage, "Its storage is full: it is read-only until less than 90% are used. Choose " + morePlan + ", or " +
		"delete data" + how + "."
}

// A volume is looked at again before a writer at writerPace could have written what is left to the next border.
const (
	writerPace = backstay.GB // in a second, which no disk of ours takes for long
	leastPause = 20 * time.Millisecond
	mostPause  = time.Second
)

// pause is how long nobody needs to look at the volume.
func (r room) pause(f fill) time.Duration {
	border := r.left()
	if f >= full || r.isShort() {
		border = r.free
	}
	pause := time.Duration(float64(border) / float64(writerPace) * float64(time.Second))
	return min(max(pause, leastPause), mostPause)
}
