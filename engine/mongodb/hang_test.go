package mongodb_test

import (
	"context"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// behind is the process that listens at a socket.
func behind(t *testing.T, socket string) (pid int) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var who *unix.Ucred
	var unknown error
	err = raw.Control(func(fd uintptr) { who, unknown = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || unknown != nil {
		t.Fatalf("who listens: %v, %v", err, unknown)
	}
	return int(who.Pid)
}

// probed waits until a probe finds that the node answers, or that it does not.
func probed(t *testing.T, n engine.Node, answers bool, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var found error
	err := wait.Until(ctx, wait.Every(200*time.Millisecond), func() (again bool, err error) {
		found = tested.Probe(ctx, n)
		return (found == nil) != answers || !answers && backstay.KindOf(found) != backstay.Busy, nil
	})
	if err != nil {
		t.Errorf("a probe finds %v, of a node that answers: %t", found, answers)
	}
}

// TestProbeFindsWhatHangs: a FerretDB, or the front, that stands still has ended for nobody else to see.
func TestProbeFindsWhatHangs(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	n, _, _ := serving(t)
	for _, socket := range []string{front.Socket(n.RunDir, front.Writer), filepath.Join(n.RunDir, "orders.sock")} {
		pid := behind(t, socket)
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		probed(t, n, false, 2*front.Silence)
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		probed(t, n, true, front.Silence)
	}
}

// TestBusyFerretDBDoesNotHang: one whose sessions with PostgreSQL all wait for a lock answers what takes none of them.
func TestBusyFerretDBDoesNotHang(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	n, writer, _ := serving(t)
	if _, err := writer.Database("x").Collection("x").InsertOne(t.Context(), bson.M{"n": 1}); err != nil {
		t.Fatal(err)
	}
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u2", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	var clients []*mongo.Client // each has one connection
	for range n.Size.Connections - 2 {
		client, err := dial(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Disconnect(context.Background()) })
		if err := client.Ping(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
	}
	ctx := t.Context()
	err = pgserver.WithAdmin(ctx, n, "postgres", func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "BEGIN; LOCK TABLE documentdb_api_catalog.collections IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		for _, client := range clients { // which give up long before their queries do
			go client.Database("x").Collection("x").CountDocuments(ctx, bson.M{})
		}
		most := 0
		for end := time.Now().Add(front.Silence + 10*time.Second); time.Now().Before(end); time.Sleep(time.Second) {
			if err := tested.Probe(ctx, n); err != nil {
				t.Errorf("a probe of one that is busy: %v", err)
			}
			waiting := 0
			row := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
			if err := row.Scan(&waiting); err != nil {
				return err
			}
			most = max(most, waiting)
		}
		if most < n.Size.Connections/4 {
			t.Errorf("at most %d sessions have waited", most)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
