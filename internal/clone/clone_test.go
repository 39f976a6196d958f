package clone_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/testkit"
)

const mega = 1 << 20

// tree is a source with one of everything.
func tree(t *testing.T) string {
	t.Helper()
	src := filepath.Join(t.TempDir(), "src")
	for _, d := range []string{"", "open", "open/deep", "empty"} {
		must(t, os.Mkdir(filepath.Join(src, d), 0o700))
	}
	pattern := bytes.Repeat([]byte("0123456789abcdef"), mega/16)
	for name, content := range map[string][]byte{
		"empty.file": nil, "small": []byte("small\n"), "open/large": pattern, "open/deep/secret": []byte("x"),
		"odd": pattern[:mega-3],
	} {
		must(t, os.WriteFile(filepath.Join(src, name), content, 0o600))
	}
	must(t, os.Chmod(filepath.Join(src, "open/deep/secret"), 0o400))
	must(t, os.Chmod(filepath.Join(src, "small"), 0o755))
	must(t, os.Symlink("open/large", filepath.Join(src, "link")))
	must(t, os.Symlink("/no/such", filepath.Join(src, "dangling")))
	sparse(t, filepath.Join(src, "sparse"))
	must(t, os.Chmod(filepath.Join(src, "open"), 0o755))
	must(t, os.Chmod(filepath.Join(src, "open/deep"), 0o500))
	t.Cleanup(func() { os.Chmod(filepath.Join(src, "open/deep"), 0o700) }) // so that it can be removed
	return src
}

// sparse makes a file that begins with a hole, has data in the middle and ends with a hole.
func sparse(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = f.WriteAt([]byte("island"), 2*mega)
	must(t, err)
	must(t, f.Truncate(4*mega))
	must(t, f.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	src, dst := tree(t), filepath.Join(t.TempDir(), "dst")
	must(t, clone.Copy(dst, src, -1, -1))
	t.Cleanup(func() { os.Chmod(filepath.Join(dst, "open/deep"), 0o700) })
	want, got := list(t, src), list(t, dst)
	if len(got) != len(want) {
		t.Errorf("got %d entries, want %d", len(got), len(want))
	}
	for name, w := range want {
		if g := got[name]; g != w {
			t.Errorf("%s: got %v, want %v", name, g, w)
		}
	}
	must(t, clone.Sync(dst))
}

type entry struct {
	mode    fs.FileMode
	content string // or target
}

func list(t *testing.T, dir string) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		e := entry{mode: info.Mode()}
		switch {
		case d.Type() == fs.ModeSymlink:
			e.content, err = os.Readlink(path)
		case d.Type().IsRegular():
			var content []byte
			content, err = os.ReadFile(path)
			e.content = string(content)
		}
		name, _ := filepath.Rel(dir, path)
		all[name] = e
		return err
	}))
	return all
}

// String keeps what differs readable.
func (e entry) String() string {
	return e.mode.String() + " " + e.content[:min(len(e.content), 20)]
}

// A hole is not written, and yet there is room for what will be written there.
func TestHolesAreReserved(t *testing.T) {
	t.Parallel()
	in := testkit.MemoryDir(t) // where files share no blocks
	src, dst := filepath.Join(in, "src"), filepath.Join(in, "dst")
	must(t, os.Mkdir(src, 0o700))
	sparse(t, filepath.Join(src, "f"))
	must(t, clone.Copy(dst, src, -1, -1))
	var stat unix.Stat_t
	must(t, unix.Stat(filepath.Join(dst, "f"), &stat))
	probe, err := os.Create(filepath.Join(dst, "probe"))
	must(t, err)
	defer probe.Close()
	if unix.Fallocate(int(probe.Fd()), 0, 0, mega) != nil {
		t.Skip("this file system cannot reserve")
	}
	original, err := os.Open(filepath.Join(src, "f"))
	must(t, err)
	defer original.Close()
	if unix.IoctlFileClone(int(probe.Fd()), int(original.Fd())) == nil {
		t.Skip("this file system shares what is copied")
	}
	if stat.Size != 4*mega || stat.Blocks*512 < 4*mega {
		t.Errorf("it has %d bytes, %d of them reserved, want %d", stat.Size, stat.Blocks*512, 4*mega)
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root gives away")
	}
	src, dst := tree(t), filepath.Join(t.TempDir(), "dst")
	must(t, clone.Copy(dst, src, 1879048199, 1879048200))
	must(t, filepath.WalkDir(dst, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != 1879048199 || stat.Gid != 1879048200 {
			t.Errorf("%s belongs to %d and %d", path, stat.Uid, stat.Gid)
		}
		return nil
	}))
}

// What is there is never written into, nor through.
func TestExistingIsRefused(t *testing.T) {
	t.Parallel()
	src := tree(t)
	for name, make := range map[string]func(string) error{
		"directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"file":          func(p string) error { return os.WriteFile(p, []byte("mine"), 0o600) },
		"link":          func(p string) error { return os.Symlink(t.TempDir(), p) },
		"dangling link": func(p string) error { return os.Symlink(p+"-elsewhere", p) },
	} {
		dst := filepath.Join(t.TempDir(), "dst")
		must(t, make(dst))
		before := list(t, filepath.Dir(dst))
		if err := clone.Copy(dst, src, -1, -1); err == nil {
			t.Errorf("%s: copied over it", name)
		}
		if after := list(t, filepath.Dir(dst)); len(after) != len(before) {
			t.Errorf("%s: %v is there now, want %v", name, after, before)
		}
	}
}

func TestNoSource(t *testing.T) {
	t.Parallel()
	dst := filepath.Join(t.TempDir(), "dst")
	if err := clone.Copy(dst, filepath.Join(t.TempDir(), "absent"), -1, -1); err == nil {
		t.Error("copied nothing")
	}
}

// What cannot be copied as it is fails the copy, by name.
func TestOtherFilesAreRefused(t *testing.T) {
	t.Parallel()
	src, dst := tree(t), filepath.Join(t.TempDir(), "dst")
	must(t, unix.Mkfifo(filepath.Join(src, "pipe"), 0o600))
	if err := clone.Copy(dst, src, -1, -1); err == nil || !strings.Contains(err.Error(), "pipe") {
		t.Errorf("got %v, want an error that names the pipe", err)
	}
}
