package process

import (
	"crypto/sha256"
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

// Executable tells the program that runs now from every other: the SHA-256 of its file, in hexadecimal.
// Two builds of a changed tree differ in it, whatever version they say they are.
var Executable = sync.OnceValues(func() (string, error) {
	f, err := os.Open(self)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read our own program: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
})
