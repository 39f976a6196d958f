package mongodb

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/scram"
)

var _ engine.Drillable = Engine{}

// AdmitDriller makes the user anew, whom the front lets reach nothing but what drills write.
func (Engine) AdmitDriller(ctx context.Context, n engine.Node, password backstay.Secret) error {
	verifier, err := scram.Verifier(password)
	if err != nil {
		return err
	}
	err = withDriller(ctx, n, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx,
			"CREATE ROLE "+front.Driller+" NOLOGIN PASSWORD '"+verifier+"' IN ROLE "+front.Writes)
		return err
	})
	if err != nil {
		return fmt.Errorf("admit who writes in a drill: %w", err)
	}
	return nil
}

// DismissDriller drops the user first: once it is gone, nobody begins to write.
func (Engine) DismissDriller(ctx context.Context, n engine.Node) error {
	if err := withDriller(ctx, n, func(*pgx.Conn) error { return nil }); err != nil {
		return fmt.Errorf("dismiss who has written in a drill: %w", err)
	}
	return nil
}

// withDriller does something once there is neither the user nor what it has written.
func withDriller(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	return withUsers(ctx, n, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "DROP ROLE IF EXISTS "+front.Driller); err != nil {
			return err
		}
		if err := endSessions(ctx, conn, front.Driller); err != nil {
			return err
		}
		if err := forgetDrill(ctx, conn); err != nil {
			return err
		}
		if err := do(conn); err != nil {
			return err
		}
		return pgserver.InStep(ctx, conn, n)
	})
}

// sentinel is a collection of DocumentDB's own, which clients do not see, in each database.
const sentinel = "system.dbSentinel"

// forgetDrill drops what drills have written, where nobody may write there any more: a copy that was taken in the
// middle of a drill has it, and not the user. The database goes with it unless clients have something of their own in
// it.
func forgetDrill(ctx context.Context, conn *pgx.Conn) error {
	const left = `SELECT EXISTS (SELECT FROM documentdb_api_catalog.collections
    WHERE database_name = $1 AND collection_name = $2) AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $3)`
	var isLeft bool
	row := conn.QueryRow(ctx, left, front.DrillDatabase, front.DrillCollection, front.Driller)
	if err := row.Scan(&isLeft); err != nil || !isLeft {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		const shut = "LOCK TABLE documentdb_api_catalog.collections IN SHARE ROW EXCLUSIVE MODE" // nobody makes a collection
		if _, err := tx.Exec(ctx, shut); err != nil {
			return err
		}
		rows, err := tx.Query(ctx,
			"SELECT collection_name FROM documentdb_api_catalog.collections WHERE database_name = $1", front.DrillDatabase)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		isOurs := func(name string) bool { return name == front.DrillCollection || name == sentinel }
		if len(slices.DeleteFunc(names, isOurs)) == 0 {
			_, err = tx.Exec(ctx, "SELECT documentdb_api.drop_database($1)", front.DrillDatabase)
		} else {
			_, err = tx.Exec(ctx, "SELECT documentdb_api.drop_collection($1, $2)", front.DrillDatabase, front.DrillCollection)
		}
		return err
	})
}

// OpenDrill logs in as the user. It is no driver that does: one would connect again by itself where the connection has
// ended, and nobody would look for what was acknowledged before.
func (Engine) OpenDrill(ctx context.Context, _ engine.Node, l engine.DrillLogin) (engine.DrillSession, error) {
	conn, err := l.Dial(ctx)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, l.TLS)
	s := &drillSession{conn: secure, from: bufio.NewReader(secure)}
	if err := s.login(ctx, scram.NewClient(front.Driller, l.Password)); err != nil {
		s.Close()
		return nil, fmt.Errorf("log in: %w", err)
	}
	return s, nil
}

// drillSession speaks as much of MongoDB's protocol as a drill takes.
type drillSession struct {
	conn net.Conn
	from *bufio.Reader
	last int32 // number of a request
}

func (s *drillSession) login(ctx context.Context, c *scram.Client) error {
	answer, err := s.ask(ctx, "admin", "saslStart", int32(1), "mechanism", "SCRAM-SHA-256",
		"payload", wirebson.Binary{B: []byte(c.First())})
	if err != nil {
		return err
	}
	final, err := c.Final(payloadOf(answer))
	if err != nil {
		return err
	}
	answer, err = s.ask(ctx, "admin", "saslContinue", int32(1), "conversationId", answer.Get("conversationId"),
		"payload", wirebson.Binary{B: []byte(final)})
	if err != nil {
		return err
	}
	if err := c.Verify(payloadOf(answer)); err != nil || answer.Get("done") == true {
		return err
	}
	_, err = s.ask(ctx, "admin", "saslContinue", int32(1), "conversationId", answer.Get("conversationId"),
		"payload", wirebson.Binary{B: []byte{}})
	return err
}

func payloadOf(answer *wirebson.Document) string {
	payload, _ := answer.Get("payload").(wirebson.Binary)
	return string(payload.B)
}

// ask says one command to a database, and returns the answer, unless that is a refusal.
func (s *drillSession) ask(ctx context.Context, db string, pairs ...any) (*wirebson.Document, error) {
	command, err := wirebson.NewDocument(append(pairs, "$db", db)...)
	if err != nil {
		return nil, err
	}
	body, err := wire.NewOpMsg(command)
	if err != nil {
		return nil, err
	}
	encoded, err := body.MarshalBinary()
	if err != nil {
		return nil, err
	}
	s.last++
	length := int32(wire.MsgHeaderLen + len(encoded))
	head, err := (&wire.MsgHeader{MessageLength: length, RequestID: s.last, OpCode: wire.OpCodeMsg}).MarshalBinary()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := s.conn.Write(append(head, encoded...)); err != nil {
		return nil, err
	}
	return s.hear()
}

var errRefused = errors.New("the database refuses what a drill asks")

// hear reads the answer to the last request.
func (s *drillSession) hear() (*wirebson.Document, error) {
	header, body, err := wire.ReadMessage(s.from)
	if err != nil {
		return nil, err
	}
	message, ok := body.(*wire.OpMsg)
	if !ok || header.ResponseTo != s.last {
		return nil, errors.New("the answer is none to what was asked")
	}
	answer, err := message.Section0Raw().DecodeDeep()
	if err != nil {
		return nil, err
	}
	if answer.Get("ok") != float64(1) || answer.Get("writeErrors") != nil {
		return nil, fmt.Errorf("%w: %s", errRefused, answer.LogMessage())
	}
	return answer, nil
}

// drillID is that of the one document.
const drillID = int32(1)

func (s *drillSession) Keep(ctx context.Context, number int64) error {
	update, err := wirebson.NewDocument("q", wirebson.MustDocument("_id", drillID),
		"u", wirebson.MustDocument("$set", wirebson.MustDocument("number", number)), "upsert", true)
	if err != nil {
		return err
	}
	answer, err := s.ask(ctx, front.DrillDatabase, "update", front.DrillCollection, "updates", wirebson.MustArray(update))
	if err == nil && answer.Get("n") != int32(1) {
		err = fmt.Errorf("%w: %s", errRefused, answer.LogMessage())
	}
	return err
}

func (s *drillSession) Kept(ctx context.Context) (int64, error) {
	answer, err := s.ask(ctx, front.DrillDatabase, "find", front.DrillCollection,
		"filter", wirebson.MustDocument("_id", drillID), "limit", int64(1), "singleBatch", true)
	if err != nil {
		return 0, err
	}
	cursor, _ := answer.Get("cursor").(*wirebson.Document)
	if cursor == nil {
		return 0, errRefused
	}
	found, _ := cursor.Get("firstBatch").(*wirebson.Array)
	if found == nil || found.Len() == 0 {
		return 0, engine.ErrErased
	}
	kept, _ := found.Get(0).(*wirebson.Document)
	if kept == nil {
		return 0, errRefused
	}
	number, ok := kept.Get("number").(int64)
	if !ok {
		return 0, engine.ErrErased
	}
	return number, nil
}

func (s *drillSession) Close() { s.conn.Close() }
