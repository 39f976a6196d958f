package redis

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// silence is how long the server may say nothing while it is asked for a snapshot: longer than a script can keep it
// from everything else. A server that has to wait for another fork of its own to end sends a line feed now and then.
const silence = hangLimit + 30*time.Second

// snapshot writes all that the running server holds at one moment to w, as an RDB file. The server sends it as it does
// to a replica, from a fork: it goes on serving, needs no room on its disk, and keeps nothing for the time after. To
// be slow to read it costs the server memory, because the fork has what has been overwritten since.
func snapshot(ctx context.Context, n engine.Node, w io.Writer) error {
	c, err := operatorClient(n)
	if err != nil {
		return err
	}
	defer c.Close()
	var f *follower
	err = enter(ctx, n, c, func() (err error) {
		f, err = follow(ctx, n, c.Options())
		return err
	})
	if err != nil {
		return inWords(errors.Join(err, ctx.Err()))
	}
	defer f.close()
	if err := f.copyTo(w); err != nil {
		return inWords(errors.Join(err, ctx.Err()))
	}
	return nil
}

// follower is the operator's connection, on which the server takes us for a replica.
type follower struct {
	conn  net.Conn
	from  *bufio.Reader
	mark  []byte // that ends the snapshot
	close func()
}

// follow asks for a snapshot and waits until it begins.
func follow(ctx context.Context, n engine.Node, as *redis.Options) (f *follower, err error) {
	conn, err := n.Admin.Dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	end := func() { stop(); conn.Close() }
	f = &follower{conn: conn, close: end}
	f.from = bufio.NewReaderSize(f, 256<<10)
	defer func() {
		if err != nil { // and f is nil by now
			end()
		}
	}()
	for _, command := range [][]string{
		{"AUTH", as.Username, as.Password},
		{"REPLCONF", "rdb-only", "1"}, // so that the server keeps no changes for us
		{"REPLCONF", "capa", "eof"},   // so that it sends the snapshot without writing it to its disk
	} {
		if answer, err := f.ask(command...); err != nil || answer != "+OK" {
			return nil, errors.Join(err, unexpected(answer))
		}
	}
	answer, err := f.ask("SYNC")
	mark, ok := strings.CutPrefix(answer, "$EOF:")
	if err != nil || !ok {
		return nil, errors.Join(err, unexpected(answer))
	}
	f.mark = []byte(mark)
	return f, nil
}

func unexpected(answer string) error {
	if answer == "" {
		return nil
	}
	return fmt.Errorf("the server answers %q", answer)
}

// Read reads what the server says within a time.
func (f *follower) Read(p []byte) (int, error) {
	if err := f.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return f.conn.Read(p)
}

// ask sends a command and returns the line that answers it. An error that the server answers with is one of go-redis.
func (f *follower) ask(words ...string) (answer string, err error) {
	command := fmt.Sprintf("*%d\r\n", len(words))
	for _, word := range words {
		command += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(f.conn, command); err != nil {
		return "", err
	}
	for answer == "" && err == nil { // empty lines say that the server is still there
		answer, err = f.from.ReadString('\n')
		answer = strings.TrimRight(answer, "\r\n")
	}
	if said, failed := strings.CutPrefix(answer, "-"); failed {
		return "", answeredError(said)
	}
	return answer, err
}

// answeredError is what the server has answered instead of doing what it was asked.
type answeredError string

func (e answeredError) Error() string { return string(e) }

// RedisError makes it an error of go-redis.
func (answeredError) RedisError() {}

// copyTo copies the snapshot up to the mark behind it.
func (f *follower) copyTo(w io.Writer) error {
	held := make([]byte, 0, 256<<10)
	for {
		count, err := f.from.Read(held[len(held):cap(held)])
		held = held[:len(held)+count]
		if before, ended := bytes.CutSuffix(held, f.mark); ended {
			_, err := w.Write(before)
			return err
		}
		if err == io.EOF {
			return errCutOff
		}
		if err != nil {
			return err
		}
		surely := max(0, len(held)-len(f.mark)) // what is behind it may be the mark's beginning
		if _, err := w.Write(held[:surely]); err != nil {
			return err
		}
		held = append(held[:0], held[surely:]...)
	}
}

// errCutOff says that the server has ended the connection, or itself, before the snapshot was whole.
var errCutOff = backstay.Errorf(backstay.Unavailable, "The database ended in the middle of its backup.")
