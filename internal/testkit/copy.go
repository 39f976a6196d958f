package testkit

import (
	"errors"
	"os"
	"path/filepath"
)

// CopyOfUs puts a copy of the test's program where every user of the machine can run it, and returns its path.
// Processes that the test starts are told by the environment where it is: one copy is for all.
func CopyOfUs(variable string) (program string, remove func()) {
	if program := os.Getenv(variable); program != "" {
		return program, func() {}
	}
	dir, err := os.MkdirTemp("", "backstay-program-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "program")
	content, err := os.ReadFile("/proc/self/exe")
	err = errors.Join(err, os.Chmod(dir, 0o711), os.WriteFile(program, content, 0o755), os.Setenv(variable, program))
	if err != nil {
		panic(err)
	}
	return program, func() { os.RemoveAll(dir) }
}
