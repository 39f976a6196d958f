package front

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Channels of PostgreSQL's notifications.
const (
	End  = "backstay_end"  // orders to the front
	Done = "backstay_done" // the same orders, when they are carried out
)

// Order has the front end the connections of a user.
type Order struct{ User, Mark string }

// NewOrder returns an order that is like no other.
func NewOrder(user string) Order { return Order{user, rand.Text()} }

func (o Order) String() string { return o.User + " " + o.Mark }

func parseOrder(text string) Order {
	user, mark, _ := strings.Cut(text, " ")
	return Order{user, mark}
}

// PostgreSQL has no notifications on a node that follows. There the front is told by a socket, of which it says by the
// same word that it is done.
const (
	EndStrangers = "end strangers" // the connections of users that there are no more
	EndAll       = "end all"       // all connections
	LookAnew     = "look anew"     // what the node is: where it was promoted, all connections end
)

func ordersSocket(runDir string) string { return filepath.Join(runDir, "orders.sock") }

// orderPatience is how long the front may take to carry out what it is told.
const orderPatience = 5 * time.Second

var errNotDone = errors.New("the front does not say that it has done what it was told")

// Tell has the front of a node that follows do something, and returns once it is done. It is an error where no front
// serves.
func Tell(ctx context.Context, runDir, order string) error {
	ctx, cancel := context.WithTimeout(ctx, orderPatience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", ordersSocket(runDir))
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, order+"\n"); err != nil {
		return err
	}
	said, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && said != order+"\n" {
		err = errNotDone
	}
	return err
}

// obey carries out what it is told, until the listener is closed.
func (s *Server) obey(ctx context.Context, orders net.Listener) {
	for {
		conn, err := orders.Accept()
		if err != nil {
			return
		}
		conn.SetDeadline(time.Now().Add(orderPatience))
		order, err := bufio.NewReader(io.LimitReader(conn, 100)).ReadString('\n')
		if err == nil && s.carryOut(ctx, strings.TrimSuffix(order, "\n")) == nil {
			io.WriteString(conn, order) // who has asked may be gone
		}
		conn.Close()
	}
}

func (s *Server) carryOut(ctx context.Context, order string) error {
	s.mu.Lock()
	serves := s.open
	s.mu.Unlock()
	switch {
	case order == LookAnew:
		s.beginAnew()
		return nil
	case !serves:
		return errNotDone
	case order == EndStrangers:
		return s.endStrangers(ctx)
	case order == EndAll:
		s.endAll()
		return nil
	}
	return errNotDone
}

// endStrangers looks all users up. One that comes meanwhile is looked up behind us.
func (s *Server) endStrangers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, orderPatience)
	defer cancel()
	s.mu.Lock()
	users := slices.Collect(maps.Keys(s.users))
	s.mu.Unlock()
	for _, user := range users {
		right, err := s.rights.rightOf(ctx, user)
		if err != nil {
			return err
		}
		if right == "" {
			s.end(user)
		}
	}
	return nil
}
