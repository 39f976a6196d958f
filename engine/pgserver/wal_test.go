package pgserver

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory as renewIdentifier finds it: a control file whose checksum is at an offset of its own,
// and one log segment of a megabyte. Real ones are in TestClonesDiffer.
func fakeData(t *testing.T, checksum int, segment []byte) string {
	t.Helper()
	data := t.TempDir()
	control := make([]byte, 8192)
	copy(control, "\x01\x02\x03\x04\x05\x06\x07\x08")
	binary.NativeEndian.PutUint32(control[checksum:], crc32.Checksum(control[:checksum], castagnoli))
	for name, content := range map[string][]byte{
		"global/pg_control": control, "pg_wal/000000010000000000000001": segment, "pg_wal/not.a.segment": []byte("x"),
	} {
		path := filepath.Join(data, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func segmentOf(identifier string) []byte {
	segment := make([]byte, 1<<20)
	binary.NativeEndian.PutUint16(segment[2:], longHeader)
	copy(segment[identifierAt:], identifier)
	segment[5<<17] = 1 // a page in the middle that is not zero
	return segment
}

func TestRenewIdentifier(t *testing.T) {
	t.Parallel()
	const was = "\x01\x02\x03\x04\x05\x06\x07\x08"
	data := fakeData(t, 288, segmentOf(was))
	if err := RenewIdentifier(data); err != nil {
		t.Fatal(err)
	}
	control, err := os.ReadFile(filepath.Join(data, "global", "pg_control"))
	if err != nil || len(control) != 8192 {
		t.Fatalf("the control file has %d bytes (%v)", len(control), err)
	}
	if at, ok := checksumAt(control); !ok || at != 288 || bytes.Equal(control[:8], []byte(was)) {
		t.Errorf("checksum at %d (%t), identifier %x", at, ok, control[:8])
	}
	segment, err := os.ReadFile(filepath.Join(data, "pg_wal", "000000010000000000000001"))
	if err != nil || !bytes.Equal(segment[identifierAt:identifierAt+8], control[:8]) {
		t.Errorf("the log is of %x (%v), want %x", segment[identifierAt:identifierAt+8], err, control[:8])
	}
}

func TestRenewIdentifierRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"another directory's log": fakeData(t, 288, segmentOf("\x11\x02\x03\x04\x05\x06\x07\x08")),
		"no header":               fakeData(t, 288, make([]byte, 1<<20)),
		"no checksum":             fakeData(t, 1024, segmentOf("\x01\x02\x03\x04\x05\x06\x07\x08")),
		"nothing":                 t.TempDir(),
	} {
		if RenewIdentifier(data) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestPunch(t *testing.T) {
	t.Parallel()
	want := segmentOf("12345678")
	data := fakeData(t, 288, want)
	if err := PunchLogs(data); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(data, "pg_wal", "000000010000000000000001")
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the content has changed (%v)", err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil || stat.Blocks*512 > 256<<10 {
		t.Errorf("it takes %d bytes of the disk (%v), want no more than what is not zero", stat.Blocks*512, err)
	}
}
