package redis

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// dump is a snapshot in a file without a name: it is gone when it is closed, and when we are killed.
type dump struct {
	file *os.File
	size int64
	by   writer
}

// newDump takes a snapshot of the running server and checks it. The file lies beside the node's data, so that the
// server is done with it soon, however slow the place is that it goes to in the end.
func newDump(ctx context.Context, n engine.Node) (d *dump, err error) {
	file, err := openUnnamed(n.DataDir + ".backup")
	if err != nil {
		return nil, blameDisk(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := snapshot(ctx, n, file); err != nil {
		return nil, blameDisk(err)
	}
	d = &dump{file: file}
	if d.size, err = file.Seek(0, io.SeekCurrent); err != nil {
		return nil, err
	}
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(d.reader(), header); err != nil {
		return nil, err
	}
	d.by = writerOf(header)
	return d, checkDump(ctx, n, d.reader())
}

// openUnnamed makes a file that has the name only until it is open.
func openUnnamed(name string) (*os.File, error) {
	if err := os.RemoveAll(name); err != nil { // one whose maker was killed
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(name); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func blameDisk(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return backstay.Wrapf(err, backstay.Unavailable, "There is no room for a backup beside the database.")
	}
	return err
}

// reader returns a reader of the whole snapshot.
func (d *dump) reader() io.Reader { return io.NewSectionReader(d.file, 0, d.size) }

// writeTo writes the whole snapshot.
func (d *dump) writeTo(w io.Writer) error {
	_, err := io.Copy(w, d.reader())
	return err
}

func (d *dump) close() error { return d.file.Close() }
