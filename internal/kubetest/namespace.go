package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespaces are the cluster's own: of processes, mounts and network.
type namespaces struct {
	first               *os.Process
	network, mount, pid *os.File
	gone                chan struct{} // closed when the first process has been waited for
}

// newNamespaces starts the first process of new namespaces. The kernel kills it when this process dies, and everything
// else in there with it.
func newNamespaces(program string) (*namespaces, error) {
	n := &namespaces{gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the death of the thread that has started it for that of the process: this one stays.
		runtime.LockOSThread()
		defer close(n.gone)
		cmd := exec.Command(program)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
			Pdeathsig:  syscall.SIGKILL,
		}
		err := cmd.Start()
		n.first = cmd.Process
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("begin namespaces: %w", err)
	}
	for kind, file := range map[string]**os.File{"net": &n.network, "mnt": &n.mount, "pid": &n.pid} {
		var err error
		if *file, err = os.Open(filepath.Join("/proc", strconv.Itoa(n.first.Pid), "ns", kind)); err != nil {
			return nil, errors.Join(err, n.end())
		}
	}
	return n, nil
}

// end kills what is in there.
func (n *namespaces) end() error {
	err := n.first.Kill()
	<-n.gone
	for _, file := range []*os.File{n.network, n.mount, n.pid} {
		file.Close() // of nil it fails, which is all the same
	}
	return err
}

// enter calls f on a thread whose network is the cluster's: sockets that f makes there, and processes that it starts,
// belong to it for ever. It is for calls that make them in their own goroutine.
func (n *namespaces) enter(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		err := unix.Setns(int(n.network.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// start starts a command in all of the namespaces.
func (n *namespaces) start(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_FS) // or the mounts would be every thread's
		for _, file := range []*os.File{n.network, n.mount, n.pid} {
			if err == nil {
				err = unix.Setns(int(file.Fd()), 0)
			}
		}
		if err == nil {
			err = cmd.Start()
		}
		done <- err
	}()
	return <-done
}

// dial connects from within the cluster's network. Names are those of the cluster's services.
func (n *namespaces) dial(ctx context.Context, network, address string) (connection net.Conn, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		if host, err = n.lookUp(ctx, host); err != nil {
			return nil, err
		}
	}
	err = n.enter(func() (err error) {
		connection, err = new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, port))
		return err
	})
	return connection, err
}

// lookUp returns the address of a service, which is named as in every namespace, SERVICE.NAMESPACE, or wholly.
func (n *namespaces) lookUp(ctx context.Context, host string) (string, error) {
	if !strings.HasSuffix(host, ".cluster.local") {
		host = strings.TrimSuffix(host, ".svc") + ".svc.cluster.local"
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.dial(ctx, network, net.JoinHostPort(control, "53"))
	}}
	addresses, err := resolver.LookupHost(ctx, host+".")
	if err != nil {
		return "", err
	}
	return addresses[0], nil
}
