package process

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"
)

// self leads to the program that runs now, even when its file was replaced since, as by an upgrade.
const self = "/proc/self/exe"

// Self is the path by which the program that runs now can be run again: its own, as long as that still leads
// to it.
func Self() string {
	path, err := os.Executable()
	if err != nil {
		return self
	}
	there, err := os.Stat(path)
	if err != nil {
		return self
	}
	if running, err := os.Stat(self); err != nil || !os.SameFile(there, running) {
		return self
	}
	return path
}

// Executable tells the program that runs now from every other, whatever version it says it is: by the build ID that
// Go's linker wrote into it, of which a part is a hash of all that the program consists of. One that was linked without
// has the SHA-256 of its file, in hexadecimal: to read it whole takes a tenth of a second, at each start.
var Executable = sync.OnceValues(func() (string, error) {
	f, err := os.Open(self)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if id := buildID(f); id != "" {
		return id, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read our own program: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
})

// buildID is what Go's linker wrote into a program, or empty.
func buildID(program io.ReaderAt) string {
	f, err := elf.NewFile(program)
	if err != nil {
		return ""
	}
	section := f.Section(".note.go.buildid")
	if section == nil {
		return ""
	}
	note, err := section.Data()
	// The lengths of the name and of what it names, a type, and the name, which is "Go" and two zeros.
	const head = 16
	if err != nil || len(note) < head || !bytes.Equal(note[12:head], []byte("Go\x00\x00")) {
		return ""
	}
	length := f.ByteOrder.Uint32(note[4:])
	return string(note[head:min(len(note), head+int(length))])
}
