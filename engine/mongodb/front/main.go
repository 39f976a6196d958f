package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/engine/door"
	"github.com/backstay/backstay/internal/wait"
)

// Main runs the front whose configuration lies at args[0], until ctx ends. Where it cannot listen, it ends the node:
// that serves nobody, and so it is seen why.
func Main(ctx context.Context, args []string, log io.Writer) error {
	if len(args) != 1 {
		return errors.New("the front takes the path of its configuration")
	}
	c, err := door.ReadConfig[Config](args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	succession, err := door.Succeed(filepath.Join(c.RunDir, "front.sock"), cancel)
	if err != nil {
		return err
	}
	defer succession.Close()
	listeners, err := door.Listen(ctx, c.Listen)
	if err != nil {
		fmt.Fprintln(log, Said+err.Error())
		return errors.Join(err, endNode(filepath.Dir(args[0])))
	}
	s := newServer(args[0], c)
	defer s.all.Wait()
	defer cancel()
	for _, l := range listeners {
		defer l.Close()
		s.all.Go(func() {
			if err := s.accept(ctx, l); ctx.Err() == nil {
				fmt.Fprintln(log, Said+"accept: "+err.Error())
				cancel()
			}
		})
	}
	return s.run(ctx, log)
}

// run keeps the way in open while FerretDB and PostgreSQL are there.
func (s *Server) run(ctx context.Context, log io.Writer) error {
	said := false
	for {
		if err := s.awaitGateways(ctx); err != nil {
			return nil // ctx has ended
		}
		if conn, err := open(ctx, s.config.RunDir); err == nil {
			if !said {
				fmt.Fprintln(log, Said+Serves)
				said = true
			}
			if err = s.watch(ctx, conn); ctx.Err() == nil {
				fmt.Fprintln(log, "the front lost PostgreSQL: "+err.Error())
				said = false
			}
			conn.Close(context.WithoutCancel(ctx))
		}
		if wait.Pause(ctx, 50*time.Millisecond) != nil {
			return nil
		}
	}
}

// awaitGateways waits until both FerretDB listen.
func (s *Server) awaitGateways(ctx context.Context) error {
	return wait.Until(ctx, wait.Growing(time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		for _, right := range []string{Reader, Writer} {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "unix", Socket(s.config.RunDir, right))
			if err != nil {
				return true, err
			}
			conn.Close()
		}
		return false, nil
	})
}

// endNode asks the node's PostgreSQL to end, at once.
func endNode(dataDir string) error {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || pid < 2 {
		return errors.New("PostgreSQL does not run")
	}
	return syscall.Kill(pid, syscall.SIGINT)
}
