//go:build unix

package tunnel

import (
	"errors"
	"syscall"
)

func tryWrite(c syscall.RawConn, b []byte) (n int, err error) {
	failed := c.Write(func(fd uintptr) bool {
		n, err = syscall.Write(int(fd), b)
		return true // whatever came of it: nobody waits here
	})
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		err = nil
	}
	return max(n, 0), errors.Join(failed, err)
}
