package front

import (
	"cmp"
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

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine/door"
	"github.com/backstay/backstay/engine/pgserver"
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
	orders, err := door.ListenUnix(ordersSocket(c.RunDir))
	if err != nil {
		return err
	}
	s := newServer(args[0], c)
	defer s.all.Wait()
	defer cancel()
	defer orders.Close()
	s.all.Go(func() { s.obey(ctx, orders) })
	return s.run(ctx, log)
}

// errNoPort is that we cannot listen.
var errNoPort = errors.New("clients cannot come in")

// run keeps the way in open while FerretDB and PostgreSQL are there.
func (s *Server) run(ctx context.Context, log io.Writer) error {
	for s.awaitGateway(ctx, Reader) == nil {
		if conn, err := open(ctx, s.config.RunDir); err == nil {
			err = s.attend(ctx, conn, log)
			conn.Close(context.WithoutCancel(ctx))
			switch {
			case ctx.Err() != nil:
			case errors.Is(err, errNoPort):
				fmt.Fprintln(log, Said+err.Error())
				return errors.Join(err, endNode(filepath.Dir(s.path)))
			default:
				fmt.Fprintln(log, "the front begins anew: "+err.Error())
			}
		}
		if wait.Pause(ctx, 50*time.Millisecond) != nil {
			break
		}
	}
	return nil // ctx has ended
}

// attend is a round: the node is served as what it is, until that changes, or the connection to PostgreSQL ends.
func (s *Server) attend(ctx context.Context, conn *pgx.Conn, log io.Writer) error {
	round, end := context.WithCancelCause(ctx)
	defer end(nil)
	s.begin(end)
	err := s.serve(ctx, round, conn, log)
	return cmp.Or(context.Cause(round), err)
}

// serve serves in a round. What sessions have begun lasts as long as ctx.
func (s *Server) serve(ctx, round context.Context, conn *pgx.Conn, log io.Writer) error {
	follows, err := pgserver.IsFollowing(round, conn)
	if err == nil && !follows {
		err = s.awaitGateway(round, Writer)
	}
	if err != nil {
		return err
	}
	listeners, err := door.Listen(round, s.config.Listen)
	if err != nil && round.Err() == nil {
		return fmt.Errorf("%w: %w", errNoPort, err)
	}
	if err != nil {
		return err
	}
	s.listens(listeners)
	defer s.shut()
	if !follows { // whoever sees that clients may write finds the ports
		if _, err := conn.Exec(round, "LISTEN "+End+"; SET application_name = '"+Leads+"'"); err != nil {
			return err
		}
	}
	if err := s.letIn(ctx, round, follows); err != nil {
		return err
	}
	fmt.Fprintln(log, Said+Serves)
	if follows {
		return s.watchFollowing(round, conn)
	}
	return s.watch(round, conn)
}

// awaitGateway waits until the FerretDB of a right listens.
func (s *Server) awaitGateway(ctx context.Context, right string) error {
	return wait.Until(ctx, wait.Growing(time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", Socket(s.config.RunDir, right))
		if err != nil {
			return true, err
		}
		conn.Close()
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
