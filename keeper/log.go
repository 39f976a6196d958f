package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// An engine's log is begun anew when it is this long, and the one before it is kept.
const (
	maxLog      = 10 << 20 // bytes
	logInterval = 5 * time.Second
)

// boundLogs keeps the logs of all engines within bounds until ctx ends, and the keeper's reserve of room.
func (k *Keeper) boundLogs(ctx context.Context) {
	tick := time.NewTicker(logInterval)
	defer tick.Stop()
	told := map[string]string{} // by path, what was said of it last: a disk that is lost fails each time
	for {
		if err := k.machine.Records.Reserve.Keep(); err != nil {
			k.Log.Warn("no room on the disk could be set aside", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, in := range k.all() {
			for _, path := range k.machine.LogFiles(in.Record()) {
				err := boundLog(path, maxLog)
				if err == nil {
					delete(told, path)
				} else if told[path] != err.Error() {
					k.Log.Warn("a log could not be begun anew", "path", path, "error", err)
					told[path] = err.Error()
				}
			}
		}
	}
}

// boundLog moves what is in a log that is too long into the one before. The engine goes on appending
// to the file that it has open; what it says in the instant between copy and truncation is lost.
func boundLog(path string, limit int64) error {
	log, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil || info.Size() <= limit {
		return err
	}
	before, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(before, io.NewSectionReader(log, info.Size()-limit, limit))
	err = errors.Join(err, before.Close())
	if err := errors.Join(err, log.Truncate(0)); err != nil { // also when the disk is full: then all the more
		return fmt.Errorf("begin log anew: %w", err)
	}
	return nil
}
