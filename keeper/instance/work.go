package instance

import (
	"context"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/wait"
)

// workEvery is how often it is looked whether work goes on that takes longer the more data there is.
const workEvery = time.Minute

// attest tells that such work goes on, until end is called or ctx ends: again whenever something below the directories
// has changed since the last look. Work that leaves its traces elsewhere names none, and is bounded by whoever does it.
func (in *Instance) attest(ctx context.Context, dirs ...string) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		before := traceOf(dirs)
		for wait.Pause(ctx, workEvery) == nil {
			now := traceOf(dirs)
			if len(dirs) == 0 || now != before {
				in.report(func(st *backend.Status) { st.Worked = in.m.Now() })
			}
			before = now
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// Storage is how much of the disk the data of the instance takes, and whether it is kept from taking more than its plan
// says, on whichever of the two nodes, and how it is encrypted.
func (in *Instance) Storage() (backend.Storage, error) {
	r := in.Record()
	size, err := clone.Size(filepath.Join(in.m.dir(r, r.Place), dataName(r.Data)))
	pool := in.m.pool(r, r.Place)
	way, _ := pool.EncryptedBy(r.Home()) // it is about to go
	enforced := pool.Enforced() && (r.Second == nil || in.m.pool(r, r.Place.other()).Enforced())
	return backend.Storage{Used: backstay.Bytes(size), Enforced: enforced, Encryption: way}, err
}

// trace is what work in files leaves: a program that writes changes at least one of it.
type trace struct {
	files  int
	blocks int64
	newest time.Time
}

// traceOf is that of all that lies below directories. What cannot be read leaves none.
func traceOf(dirs []string) (t trace) {
	for _, dir := range dirs {
		filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil // it is gone, which its directory shows
			}
			t.files++
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				t.blocks += stat.Blocks
			}
			if info.ModTime().After(t.newest) {
				t.newest = info.ModTime()
			}
			return nil
		})
	}
	return t
}
