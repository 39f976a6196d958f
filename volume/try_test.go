package volume_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// TestTryOnAFullDisk: that there is no room now says nothing of the machine, and volumes can be made as soon as there is.
func TestTryOnAFullDisk(t *testing.T) {
	t.Parallel()
	p := newNarrowPool(t, newImages(t), "360M")
	disk := filepath.Dir(p.Root)
	unfill := fillUp(t, disk)
	why := p.Try(t.Context())
	if backstay.KindOf(why) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(why), "the disk is full") {
		t.Errorf("on a full disk: %v (%v)", why, errors.Unwrap(why))
	}
	unfill()
	if why := p.Try(t.Context()); why != nil {
		t.Errorf("once it has room: %v", why)
	}
	endFileSystem(t, disk)
	if why := p.Try(t.Context()); backstay.KindOf(why) != backstay.Unavailable {
		t.Errorf("on a disk that does not work: %v (%v)", why, errors.Unwrap(why))
	}
}

// TestEncryptionOnAFullDisk: no other way is taken, for ever, because there was no room for the first.
func TestEncryptionOnAFullDisk(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, p images) {
		p = newNarrowPool(t, p, "360M")
		unfill := fillUp(t, filepath.Dir(p.Root))
		if way, why := p.Encryption(t.Context()); backstay.KindOf(why) != backstay.Unavailable {
			t.Errorf("on a full disk: by %q, %v (%v)", way, why, errors.Unwrap(why))
		}
		unfill()
		if way, why := p.Encryption(t.Context()); why != nil {
			t.Errorf("once it has room: by %q, %v (%v)", way, why, errors.Unwrap(why))
		}
	})
}

// fillUp leaves a disk no room until unfill is called.
func fillUp(t *testing.T, disk string) (unfill func()) {
	t.Helper()
	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size, at := int64(64*backstay.MB), int64(0); size >= 512; {
		err := unix.Fallocate(int(f.Fd()), 0, at, size)
		switch {
		case err == nil:
			at += size
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		default:
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}
