package front

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
)

// passed is what goes on of a message, and why not all of it does.
func passed(message []byte) ([]byte, error) {
	r := bufio.NewReaderSize(bytes.NewReader(message), 16<<10)
	m, err := readMessage(r, true)
	if err != nil {
		return nil, err
	}
	var to bytes.Buffer
	to.Write(m.head)
	if m.rest > 0 {
		err = passLong(&to, r, m.sort, m.rest)
	}
	return to.Bytes(), err
}

// everything is a value of each sort.
func everything() []any {
	return []any{
		"double", 1.5, "text", "x", "document", wirebson.MustDocument("a", int32(1)),
		"array", wirebson.MustArray("a", int64(2)), "bytes", wirebson.Binary{B: []byte("abc"), Subtype: 5},
		"identifier", wirebson.ObjectID{1, 2, 3}, "truth", true, "moment", time.UnixMilli(1), "null", wirebson.Null,
		"pattern", wirebson.Regex{Pattern: "a.b", Options: "i"}, "integer", int32(3), "timestamp", wirebson.Timestamp(4),
		"long", int64(5), "decimal", wirebson.Decimal128{H: 1, L: 2},
	}
}

// TestTransactionsAreRefused, however long their commands are, and nothing else is.
func TestTransactionsAreRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*wholly)
	command := func(first any, more ...any) []byte {
		return msg(t, append(append([]any{"insert", first}, everything()...), append(more, "$db", "main")...)...)
	}
	for name, tc := range map[string]struct {
		message []byte
		refused error
	}{
		"a command":                {command("c"), nil},
		"a long one":               {command(long), nil},
		"what is within":           {command(long, "x", wirebson.MustDocument("startTransaction", true)), nil},
		"the first":                {command("c", "startTransaction", true, "autocommit", false), errTransaction},
		"a later one":              {command("c", "autocommit", false), errTransaction},
		"a long first":             {command(long, "startTransaction", true, "autocommit", false), errLongTransaction},
		"a long later one":         {command(long, "autocommit", false), errLongTransaction},
		"with a long value within": {command("c", "x", long, "autocommit", false), errLongTransaction},
	} {
		got, err := passed(tc.message)
		if !errors.Is(err, tc.refused) {
			t.Errorf("%s: %v, want %v", name, err, tc.refused)
		}
		if whole := bytes.Equal(got, tc.message); whole != (tc.refused == nil) {
			t.Errorf("%s: %d of %d bytes are passed on", name, len(got), len(tc.message))
		}
	}
}

// TestDuesAreSettled waits for answers, and for no more than there will be, and tells for whom they are.
func TestDuesAreSettled(t *testing.T) {
	t.Parallel()
	d := newDues()
	if !d.settle() {
		t.Error("nothing is owed, and it is not settled")
	}
	d.owe(message{id: 1, mute: true})
	d.owe(message{id: 2})
	if d.isFor(1) || !d.isFor(2) {
		t.Errorf("the answers are for the client: %t and %t", d.isFor(1), d.isFor(2))
	}
	d.pay(1)
	settled := make(chan bool)
	go func() { settled <- d.settle() }()
	d.pay(2)
	if !<-settled {
		t.Error("all answers came, and it is not settled")
	}
	d.owe(message{id: 1}) // the same number once more
	if !d.isFor(1) {
		t.Error("an answer is taken for that of another request")
	}
	go func() { settled <- d.settle() }()
	d.end()
	if <-settled {
		t.Error("an answer has not come, and it is settled")
	}
}

// FuzzLongMessages passes on what it passes on unchanged, and finds what FerretDB's own parser finds.
func FuzzLongMessages(f *testing.F) {
	for _, more := range [][]any{everything(), {"autocommit", false}, {"x", strings.Repeat("x", 100)}} {
		f.Add(mustBody(f, wire.MustOpMsg(append([]any{"insert", "c"}, more...)...)))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(body), 16<<10)
		m := &message{}
		message := framed(opMsg, body)
		if m.readStart(r, message[:headerLength:headerLength], int64(len(message))) != nil || m.rest == 0 {
			return
		}
		var to bytes.Buffer
		err := passLong(&to, r, m.sort, m.rest)
		if err == nil && !bytes.Equal(append(m.head, to.Bytes()...), message) {
			t.Fatalf("%x is passed on as %x%x", message, m.head, to.Bytes())
		}
		if got := int64(to.Len()); errors.Is(err, errLongTransaction) && got >= m.rest {
			t.Fatalf("of a transaction all %d bytes are passed on", got)
		}
		var o wire.OpMsg
		if err != nil || binary.LittleEndian.Uint32(body)&^moreToCome != 0 || o.UnmarshalBinaryNocopy(body) != nil {
			return
		}
		doc, decodeErr := o.Section0Raw().Decode()
		if decodeErr != nil {
			return
		}
		for name := range doc.Fields() {
			if isOfTransaction(name) {
				t.Fatalf("a transaction passes unseen: %v", doc)
			}
		}
	})
}
