package front

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/strict"
)

// record is what a front was told.
type record struct {
	Format   int              `json:"format"`
	Targets  []netip.AddrPort `json:"targets"`
	Held     bool             `json:"held"`
	Switched time.Time        `json:"switched"`
}

// recordFormat is the number of record's shape on disk.
const recordFormat = 1

// readRecord is what was told last. What cannot be read is nothing: then all wait until the keeper has told it anew.
func (f *Front) readRecord() record {
	var r record
	text, err := os.ReadFile(endpoint.RecordIn(f.Dir))
	if err == nil {
		err = strict.Unmarshal(text, &r)
	}
	if err == nil && r.Format != recordFormat {
		err = errors.New("it is of another build")
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.Log.Error("what the front was told last cannot be read: all connections wait", "error", err)
		}
		return record{Format: recordFormat}
	}
	return r
}

// tellAndKeep changes what f was told: in force, and then on disk, since a client that waits does not wait for the
// disk. If a crash comes in between, the keeper was not answered, and tells it again. What f knows changes nothing.
func (f *Front) tellAndKeep(change func(*record)) error {
	f.control.Lock()
	defer f.control.Unlock()
	f.mu.Lock()
	before := f.told
	f.mu.Unlock()
	r := before
	change(&r)
	if !r.equal(before) {
		f.Log.Info("told something new", "targets", r.Targets, "wait", r.Held)
		f.tell(r)
	}
	if f.kept != nil && r.equal(*f.kept) {
		return nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(endpoint.RecordIn(f.Dir), text, 0o600); err != nil {
		return err
	}
	f.kept = &r
	return nil
}

func (r record) equal(o record) bool {
	return slices.Equal(r.Targets, o.Targets) && r.Held == o.Held && r.Switched.Equal(o.Switched)
}

// tell puts what f was told in force. Connections that are being made are made anew.
func (f *Front) tell(r record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = r
	for _, t := range r.Targets {
		if f.nodes[t] == nil {
			f.nodes[t] = &node{}
		}
	}
	for address, n := range f.nodes {
		n.told = slices.Contains(r.Targets, address)
		n.trouble, n.since = "", time.Time{} // it may be another server by now
		f.prune(address, n)
	}
	f.lookAgain()
}
