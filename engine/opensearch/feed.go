package opensearch

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/wait"
)

// opener opens the content of a file with documents.
type opener func(ctx context.Context, b blob) (io.ReadCloser, error)

// feed has the server read files with documents out of pipes of their names while it restores: beside the indices that
// it makes of them, there need not be room for them too.
func (s *scratch) feed(ctx context.Context, files []blob, open opener, restore func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fed := make(chan error, 1)
	go func() {
		err := s.feedAll(ctx, files, open)
		if err != nil {
			cancel() // the server would wait for the rest
		}
		fed <- err
	}()
	restored := restore(ctx)
	cancel()
	if err := <-fed; err != nil { // for which the server may have found files damaged
		return err
	}
	return restored
}

// pipe makes one of a file's name, for the server's user.
func (s *scratch) pipe(b blob) error {
	name := path.Join(snapshotDir, b.Path)
	if err := s.dir.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	dir, err := s.dir.Open(path.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(unix.Mkfifoat(int(dir.Fd()), path.Base(name), 0o600), dir.Close())
}

// pipePause is how long the server's readers wait at the most for who feeds them.
const pipePause = 2 * time.Millisecond

// feedAll feeds whoever opens a pipe, once, until ctx ends.
func (s *scratch) feedAll(ctx context.Context, files []blob, open opener) error {
	readers, ctx := errgroup.WithContext(ctx)
	for left := slices.Clone(files); len(left) > 0; {
		left = slices.DeleteFunc(left, func(b blob) bool {
			w, err := s.dir.OpenFile(path.Join(snapshotDir, b.Path), os.O_WRONLY|unix.O_NONBLOCK, 0)
			if errors.Is(err, unix.ENXIO) { // nobody reads it
				return false
			}
			readers.Go(func() error {
				if err != nil {
					return err
				}
				return pour(ctx, w, b, open)
			})
			return true
		})
		if wait.Pause(ctx, pipePause) != nil {
			break
		}
	}
	return readers.Wait()
}

// pour writes a file's content into its pipe. That nobody reads it to its end, is told by who does not.
func pour(ctx context.Context, w *os.File, b blob, open opener) error {
	defer context.AfterFunc(ctx, func() { w.SetWriteDeadline(time.Now()) })()
	content, err := open(ctx, b)
	if err == nil {
		_, err = io.Copy(w, content)
		err = errors.Join(err, content.Close())
	}
	if err = errors.Join(err, w.Close()); ctx.Err() != nil || errors.Is(err, unix.EPIPE) {
		return nil
	}
	return err
}
