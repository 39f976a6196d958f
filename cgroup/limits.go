package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/backstay/backstay"
)

// Usual is the weight of a group that has no right to more than others.
const Usual = 100

// Limits are what the processes of one group may have together.
type Limits struct {
	// Memory counts what they have taken, shared memory, and what the kernel keeps in memory of the files that they
	// read and write. The last is given back first; if that is not enough, the kernel kills one of them. 0: no limit.
	Memory backstay.Bytes
	// Processes counts threads too. At the limit no more can be started. 0: no limit.
	Processes int
	// Millicores are thousandths of one processor: they have no more, even while nobody else wants it. 0: no limit.
	Millicores int
	// Weight, from 1 to 10000, is the part of processor and disk that they get of what is short, in proportion to
	// others. What nobody else wants they have besides. 0: Usual.
	Weight int
}

// An eighth of the machine is for what nobody waits for, and a quarter of a processor at least: a database that is busy
// loses about as much of its throughput to it, and with a quarter a gigabyte is backed up in a quarter of a minute.
const (
	backgroundPart  = 8
	leastBackground = 250 // thousandths of a processor
)

// Background are the limits of what nobody waits for, all together.
func Background() Limits {
	return Limits{Millicores: max(leastBackground, 1000*runtime.NumCPU()/backgroundPart)}
}

// file is one file of the kernel's, with what is to be written to it.
type file struct {
	controller string
	names      []string // of which the first that is there is taken
	value      string
	need       need
}

// need is what it means that a file cannot be written.
type need int

const (
	must       need = iota // a failure
	whereFound             // a failure, unless the file is not there
	ifPossible             // nothing
)

// processor is the file of a group's part of the processor.
func (g *Groups) processor(weight int) file {
	if g.unified {
		return file{cpu, []string{"cpu.weight"}, strconv.Itoa(weight), must}
	}
	return file{cpu, []string{"cpu.shares"}, strconv.Itoa(max(2, weight*1024/Usual)), must}
}

// quotaPeriod is how often a group may use its part of a processor up, in microseconds. It is the kernel's own default.
const quotaPeriod = 100_000

// quota is the file of a limit on the processor. A kernel need not have been built with it.
func (g *Groups) quota(millicores int) file {
	part := strconv.Itoa(millicores * quotaPeriod / 1000)
	if g.unified {
		if millicores == 0 {
			part = "max"
		}
		return file{cpu, []string{"cpu.max"}, part + " " + strconv.Itoa(quotaPeriod), whereFound}
	}
	if millicores == 0 {
		part = "-1"
	}
	return file{cpu, []string{"cpu.cfs_quota_us"}, part, whereFound}
}

// disk is the file of a group's part of the disk: only some of the schedulers that a disk can have know weights.
func (g *Groups) disk(weight int) file {
	few := min(weight, 1000)
	if g.unified {
		return file{disk, []string{"io.bfq.weight", "io.weight"}, "default " + strconv.Itoa(few), whereFound}
	}
	return file{disk, []string{"blkio.bfq.weight", "blkio.weight"}, strconv.Itoa(max(few, 10)), whereFound}
}

// memory are the files of a limit on memory, in order. Swap is no means to have more than the limit.
func (g *Groups) memory(limit backstay.Bytes) []file {
	bytes := strconv.FormatInt(int64(limit), 10)
	if g.unified {
		swap := "0"
		if limit == 0 {
			bytes, swap = "max", "max"
		}
		return []file{{memory, []string{"memory.max"}, bytes, must},
			{memory, []string{"memory.swap.max"}, swap, whereFound}}
	}
	if limit == 0 {
		bytes = "-1"
	}
	// The kernel refuses all by which the limit with swap would be below the one without, in between too. It is a little
	// higher: the kernel counts how often the one without is met, and not the other.
	withSwap, swapped := []string{"memory.memsw.limit_in_bytes"}, bytes
	if limit > 0 {
		swapped = strconv.FormatInt(int64(limit+backstay.MB), 10)
	}
	return []file{{memory, withSwap, swapped, ifPossible}, {memory, []string{"memory.limit_in_bytes"}, bytes, must},
		{memory, withSwap, swapped, whereFound}}
}

// files are what limits are written to, in order.
func (g *Groups) files(l Limits) []file {
	weight, most := min(max(l.Weight, 1), 10000), "max"
	if l.Weight == 0 {
		weight = Usual
	}
	if l.Processes > 0 {
		most = strconv.Itoa(l.Processes)
	}
	all := []file{g.processor(weight), g.quota(l.Millicores), g.disk(weight), {pids, []string{"pids.max"}, most, must}}
	return append(all, g.memory(l.Memory)...)
}

func (f file) writeTo(dir string) error {
	var err error
	for _, name := range f.names {
		if err = write(filepath.Join(dir, name), f.value); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if f.need == ifPossible || f.need == whereFound && errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
