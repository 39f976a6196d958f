package front

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
)

// framed is a message as it goes over the wire.
func framed(code uint32, body []byte) []byte {
	header := make([]byte, headerLength)
	binary.LittleEndian.PutUint32(header, uint32(headerLength+len(body)))
	binary.LittleEndian.PutUint32(header[4:], 7)
	binary.LittleEndian.PutUint32(header[12:], code)
	return append(header, body...)
}

func mustBody(t testing.TB, body wire.MsgBody) []byte {
	t.Helper()
	encoded, err := body.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func msg(t testing.TB, pairs ...any) []byte {
	return framed(opMsg, mustBody(t, wire.MustOpMsg(pairs...)))
}

func query(t testing.TB, pairs ...any) []byte {
	q := wire.MustOpQuery(pairs...)
	q.FullCollectionName, q.NumberToReturn = "admin.$cmd", -1
	return framed(opQuery, mustBody(t, q))
}

func payload(text string) wirebson.Binary { return wirebson.Binary{B: []byte(text)} }

func login(user string) []any {
	return []any{"saslStart", int32(1), "mechanism", "SCRAM-SHA-256", "payload", payload("n,,n=" + user + ",r=abc+/="),
		"$db", "admin"}
}

func speculative(user string) []any {
	return []any{"hello", int32(1), "speculativeAuthenticate",
		wirebson.MustDocument(append(login(user), "db", "admin")...),
		"$db", "admin"}
}

func TestDrillsAreKnown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		message []byte
		want    bool
	}{
		{"a login", msg(t, login(Driller)...), true},
		{"what comes behind", msg(t, "saslContinue", int32(1), "$db", "admin"), true},
		{"a write", msg(t, "update", DrillCollection, "$db", DrillDatabase), true},
		{"a read", msg(t, "find", DrillCollection, "$db", DrillDatabase), true},
		{"of another collection", msg(t, "find", "kept", "$db", DrillDatabase), false},
		{"of another database", msg(t, "update", DrillCollection, "$db", "main"), false},
		{"of no database", msg(t, "find", DrillCollection), false},
		{"of two databases", msg(t, "find", DrillCollection, "$db", "main", "$db", DrillDatabase), false},
		{"another command", msg(t, "drop", DrillCollection, "$db", DrillDatabase), false},
		{"one behind another", msg(t, "drop", "kept", "update", DrillCollection, "$db", DrillDatabase), false},
		{"a long write", msg(t, "update", DrillCollection, "$db", DrillDatabase, "x", strings.Repeat("x", wholly)), false},
	} {
		m, err := readMessage(bufio.NewReaderSize(bytes.NewReader(tc.message), 16<<10), true)
		if err != nil || m.isOfADrill() != tc.want {
			t.Errorf("%s: %t (%v), want %t", tc.name, m.isOfADrill(), err, tc.want)
		}
	}
}

func TestMessagesNameUsers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", wholly)
	flagged := func(flag uint32) []byte {
		m := msg(t, "ping", int32(1))
		binary.LittleEndian.PutUint32(m[headerLength:], flag)
		return m
	}
	for _, tc := range []struct {
		name    string
		message []byte
		named   bool // somebody has logged in
		user    string
		refused string
	}{
		{"ping", msg(t, "ping", int32(1), "$db", "admin"), false, "", ""},
		{"hello", query(t, "hello", int32(1)), false, "", ""},
		{"saslStart", msg(t, login("u1")...), false, "u1", ""},
		{"saslStart of old", query(t, login("u1")...), false, "u1", ""},
		{"a second one", msg(t, login("u2")...), true, "u2", ""},
		{"hello with it", msg(t, speculative("u1")...), false, "u1", ""},
		{"isMaster with it", query(t, append([]any{"isMaster", int32(1)}, speculative("u1")[2:]...)...),
			false, "u1", ""},
		{"another order", msg(t, "ping", int32(1), "saslStart", int32(1)), false, "", ""},
		{"no payload", msg(t, "saslStart", int32(1)), false, "", "Authentication failed."},
		{"a text as payload", msg(t, "saslStart", int32(1), "payload", "n,,n=u1,r=x"), false, "",
			"Authentication failed."},
		{"in another's name", msg(t, "saslStart", int32(1), "payload", payload("n,a=u2,n=u1,r=x")), false, "",
			"Authentication failed."},
		{"a name that is written in another way", msg(t, "saslStart", int32(1), "payload", payload("n,,n=u=2C1,r=x")),
			false, "", "Authentication failed."},
		{"something behind the nonce", msg(t, "saslStart", int32(1), "payload", payload("n,,n=u1,r=x,n=u2")), false, "",
			"Authentication failed."},
		{"no document", msg(t, "hello", int32(1), "speculativeAuthenticate", "u1"), false, "", "no document"},
		{"compressed", framed(opCompressed, []byte("anything")), true, "", "Compression"},
		{"an operation of old", framed(2002, []byte("anything")), true, "", "not supported"},
		{"a checksum", flagged(checksumPresent), true, "", "Checksums"},
		{"no body", framed(opMsg, nil), true, "", "is none"},
		{"a short body", framed(opMsg, []byte{0}), true, "", "cannot be read"},
		{"long, before a login", msg(t, "insert", long), false, "", "too long"},
		{"long", msg(t, "insert", long), true, "", ""},
		{"long, by which one logs in", msg(t, "saslStart", long), true, "", "too long"},
		{"long hello", msg(t, "hello", long), true, "", "too long"},
		{"long, with its command behind", framed(opMsg, append([]byte{0, 0, 0, 0, 1}, long...)), true, "",
			"begins with its command"},
	} {
		r := bufio.NewReader(bytes.NewReader(tc.message))
		m, err := readMessage(r, tc.named)
		if m.user != tc.user {
			t.Errorf("%s: names %q, want %q", tc.name, m.user, tc.user)
		}
		var refused *refusal
		if tc.refused != "" {
			if !errors.As(err, &refused) || !strings.Contains(refused.sentence, tc.refused) {
				t.Errorf("%s: %v, want it to be refused: %s", tc.name, err, tc.refused)
			}
			continue
		}
		rest, _ := io.ReadAll(r)
		if err != nil || int64(len(rest)) != m.rest || !bytes.Equal(append(m.head, rest...), tc.message) {
			t.Errorf("%s: %v; %d and %d bytes of %d", tc.name, err, len(m.head), m.rest, len(tc.message))
		}
	}
}

// TestDisguise has FerretDB's parser read what goes to it in the place of a login.
func TestDisguise(t *testing.T) {
	t.Parallel()
	for name, message := range map[string][]byte{
		"saslStart": msg(t, login("u1")...), "hello": msg(t, speculative("u1")...), "old": query(t, login("u1")...),
		"old hello": query(t, speculative("u1")...),
	} {
		m, err := readMessage(bufio.NewReader(bytes.NewReader(message)), false)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.disguise(); err != nil {
			t.Fatal(err)
		}
		again, err := readMessage(bufio.NewReader(bytes.NewReader(m.head)), false)
		if err != nil || again.user != Decoy || again.id != 7 || again.query != m.query {
			t.Errorf("%s: it names %q (%v)", name, again.user, err)
		}
		if got := string(again.login.Get("payload").(wirebson.Binary).B); got != "n,,n=decoy,r=abc+/=" {
			t.Errorf("%s: it says %s", name, got)
		}
	}
}

func TestAnswersAreRead(t *testing.T) {
	t.Parallel()
	for _, query := range []bool{false, true} {
		var b bytes.Buffer
		if err := answer(&b, message{id: 7, query: query}, errUnauthenticated); err != nil {
			t.Fatal(err)
		}
		header, body, err := wire.ReadMessage(bufio.NewReader(&b))
		if err != nil || header.ResponseTo != 7 || !strings.Contains(body.String(), "Authentication failed.") {
			t.Errorf("it reads %v %v (%v)", header, body, err)
		}
	}
}

// FuzzMessages holds what is passed on to FerretDB's own parser: where that finds a login, we have found the same.
func FuzzMessages(f *testing.F) {
	for _, pairs := range [][]any{{"ping", int32(1)}, login("u1"), speculative("u1")} {
		f.Add(msg(f, pairs...), false)
		f.Add(query(f, pairs...), true)
	}
	f.Add(framed(opMsg, []byte{1, 0, 0, 0, 0, 5, 0, 0, 0, 0}), true)
	f.Fuzz(func(t *testing.T, sent []byte, named bool) {
		r := bufio.NewReader(bytes.NewReader(sent))
		m, err := readMessage(r, named)
		if err != nil || m.rest > 0 {
			return
		}
		_, body, err := wire.ReadMessage(bufio.NewReader(bytes.NewReader(m.head)))
		if err != nil {
			return // FerretDB ends such a connection
		}
		var doc *wirebson.Document
		switch b := body.(type) {
		case *wire.OpMsg:
			doc, err = b.Section0()
		case *wire.OpQuery:
			doc, err = b.Query()
		default:
			t.Fatalf("%T is passed on", body)
		}
		if err != nil {
			return
		}
		inner, nested := doc.Get("speculativeAuthenticate").(wirebson.AnyDocument)
		if logsIn(doc.Command()) && (nested || doc.Command() == "saslStart") && m.user == "" {
			if doc.Command() == "saslStart" || inner != nil {
				t.Errorf("a login passes unseen: %v", doc)
			}
		}
	})
}
