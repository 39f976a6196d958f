package front

import (
	"context"
	"net"
	"time"

	"github.com/FerretDB/wire"

	"github.com/backstay/backstay/internal/wait"
)

// FerretDB, or the front, may stand still without ending, which its port does not show. So the front of a node that
// leads asks both of its FerretDBs again and again for what takes no database, which one that is busy answers too. As
// long as both answer, the front beats: its session in PostgreSQL says something, and how long ago it has, whoever
// probes the node reads there.

const (
	// Silence is the time without a beat after which a node counts as one that does not answer. It is far more than a
	// busy machine takes to bring three processes to work.
	Silence   = 30 * time.Second
	beatEvery = 2 * time.Second
)

// askGateways notes each time that both FerretDBs have answered, until ctx ends.
func (s *Server) askGateways(ctx context.Context) {
	for ctx.Err() == nil {
		if s.hello(ctx, Reader) == nil && s.hello(ctx, Writer) == nil {
			s.answered.Store(true)
		}
		if wait.Pause(ctx, beatEvery) != nil {
			return
		}
	}
}

// hello asks the FerretDB of a right whether it is there.
func (s *Server) hello(ctx context.Context, right string) error {
	ctx, cancel := context.WithTimeout(ctx, Silence)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", Socket(s.config.RunDir, right))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	header := wire.MsgHeader{RequestID: 1, OpCode: wire.OpCodeMsg}
	if err := write(conn, header, wire.MustOpMsg("hello", int32(1), "$db", "admin")); err != nil {
		return err
	}
	_, err = readAnswer(conn)
	return err
}
