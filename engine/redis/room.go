package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// turnedAway tells whether the server closed the connection at once, as it does when it has no place left. It also
// says so, but whether that arrives is a matter of chance.
func turnedAway(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		redis.HasErrorPrefix(err, "max number of clients reached")
}

// isNoServer tells whether nobody listens on the socket, as while the server starts.
func isNoServer(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// refusals is how often in a row the server turns the operator away before room is made for it. A server on a busy
// machine is slow to notice connections that have ended, the operator's last one among them. By its third refusal it
// has noticed all that ended before the first, and still has no place. Three more refusals after a client's
// connection was ended say that another client has taken its place.
const refusals = 3

// enter calls try until it is neither turned away nor held up by a script, or ctx ends. Clients may take the room that
// is made before the operator does: then more is made. A server that was busy may be started again meanwhile. Where
// a script held it up until ctx ended, that is the error.
func enter(ctx context.Context, n engine.Node, c *redis.Client, try func() error) error {
	giveUp, refused, room := time.Now().Add(20*time.Second), 0, 1
	var busy error
	err := wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) {
		err = try()
		switch {
		case isBusy(err):
			busy = err
			endScript(ctx, c)
		case isNoServer(err):
			return busy != nil, err
		case !turnedAway(err) || time.Now().After(giveUp):
			return false, err
		default:
			if refused++; refused < 2*refusals && refused != refusals {
				return true, err
			}
			if err := makeRoom(n, room); err != nil {
				return false, backstay.Wrapf(err, backstay.Unavailable,
					"Clients hold all connections of the service instance, and none of them can be ended.")
			}
			room = min(2*room, reserve)
		}
		return true, err
	})
	if err != nil && busy != nil && isTimeout(errors.Join(err, ctx.Err())) {
		return busy
	}
	return err
}

// makeRoom ends as many of a full server's connections as room says, of those that clients hold beyond the plan, and
// as a rule the latest. The server keeps no place free for its operator, and cannot be asked for one by somebody who
// is not connected. So the keeper borrows a connection from the server's process and shuts it down. To the server it
// looks like a client that has left.
func makeRoom(n engine.Node, room int) error {
	if n.Admin.Process == nil {
		return errors.New("the server is not on this machine")
	}
	p, err := n.Admin.Process()
	if errors.Is(err, os.ErrProcessDone) {
		return nil // who tries next hears of it
	}
	if err != nil {
		return err
	}
	defer p.Close()
	held, err := clients(p)
	if err != nil {
		return err
	}
	kept, err := places(p, n)
	if err != nil {
		return err
	}
	for _, number := range held[min(len(held), max(len(held)-room, kept)):] {
		err := p.Borrow(number, func(fd int) {
			if isClient(fd) { // still: the number may have come to mean another file
				unix.Shutdown(fd, unix.SHUT_RDWR) // if it fails, the client has left
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ownFiles is how many files the server keeps for itself, of those that the machine lets it open.
const ownFiles = 32

// places returns how many connections are the clients' own: as many as the plan says, or fewer where the machine
// lets the server open so few files that it takes fewer clients.
func places(p *process.Process, n engine.Node) (int, error) {
	limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "limits"))
	if errors.Is(err, fs.ErrNotExist) { // it has ended
		return n.Size.Connections, nil
	}
	if err != nil {
		return 0, err
	}
	match := openLimit.FindSubmatch(limits)
	if match == nil { // "unlimited"
		return n.Size.Connections, nil
	}
	files, err := strconv.Atoi(string(match[1]))
	return max(min(n.Size.Connections, files-ownFiles-spare(n)), 0), err
}

// openLimit matches the line of a process's limits that says how many files it may open now.
var openLimit = regexp.MustCompile(`(?m)^Max open files\s+(\d+)`)

// clients returns the file descriptors of the server's connections with clients, in ascending order. The kernel gives
// the lowest number that is free, so most often the latest connection is the last.
func clients(p *process.Process) (held []int, err error) {
	files, err := openFiles(p)
	for i := 0; err == nil && i < len(files); i++ {
		err = p.Borrow(files[i], func(fd int) {
			if isClient(fd) {
				held = append(held, files[i])
			}
		})
	}
	return held, err
}

// server returns the process that listens on the node's socket. Which one that is, the socket's maker decides, and a
// server that was broken into may have made one that names another process: so it must work in the data directory.
func server(n engine.Node) (*process.Process, error) {
	conn, err := net.Dial("unix", filepath.Join(n.RunDir, socketName))
	if err != nil {
		return nil, os.ErrProcessDone // or it is about to be: nobody listens
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	failed := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if failed != nil || err != nil {
		return nil, errors.Join(failed, err)
	}
	p, err := process.Open(int(peer.Pid))
	if err == nil && !process.WorksIn(p.PID, n.DataDir) { // as "dir" in its configuration says
		if _, gone := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.PID), "cwd")); errors.Is(gone, fs.ErrNotExist) {
			return nil, errors.Join(os.ErrProcessDone, p.Close()) // it is ending
		}
		err = errors.Join(fmt.Errorf("process %d listens on the socket and is no server of the node", p.PID), p.Close())
	}
	return p, err
}

// openFiles returns the file descriptors of a process, in ascending order.
func openFiles(p *process.Process) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.PID), "fd"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it has ended
	}
	var numbers []int
	for _, e := range entries {
		if number, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// established is the kernel's TCP_ESTABLISHED.
const established = 1

// isClient tells whether a file is an open connection with a client. The server speaks TCP with nobody else: the
// operator uses the Unix socket.
func isClient(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	return err == nil && info.State == established
}
