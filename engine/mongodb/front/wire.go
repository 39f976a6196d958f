package front

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
)

const (
	headerLength = 16
	// wholly is up to which length a message is read before it is passed on. Nobody logs in by a longer one.
	wholly = 64 << 10
	// moreToCome is the flag of a request to which there is no answer.
	moreToCome = 1 << 1
	// checksumPresent is the flag of a message with a checksum, which no driver sends.
	checksumPresent = 1 << 0
)

// Operations of the protocol, by their numbers.
const (
	opQuery      = 2004
	opCompressed = 2012
	opMsg        = 2013
)

// message is one that a client sends.
type message struct {
	head  []byte // all of it; of a long message, what was read of it
	rest  int64  // what follows on the connection, the first of it the value of an element of a command
	sort  byte   // of that element
	id    int32  // of the request
	query bool   // it is of the old kind, which is answered in its own kind
	mute  bool   // it has no answer
	name  string // of the command
	user  string // that it names; empty: none

	command *wirebson.Document // nil: it is a long one
	login   *wirebson.Document // the part of it that names a user
}

// refusal is why a client's message is not passed on.
type refusal struct {
	code     int32
	name     string
	sentence string
	goesOn   bool // otherwise it ends the connection
}

func (r *refusal) Error() string { return r.sentence }

func malformed(format string, args ...any) error {
	return &refusal{code: 17, name: "ProtocolError", sentence: fmt.Sprintf(format, args...)}
}

// errUnauthenticated is FerretDB's own answer to a wrong name or password.
var errUnauthenticated = &refusal{code: 18, name: "AuthenticationFailed", sentence: "Authentication failed."}

// readMessage reads the next message. As long as nobody has logged in, long ones are refused. With a refusal it
// returns what is known of the message.
func readMessage(r *bufio.Reader, loggedIn bool) (m message, err error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(r, header); err != nil {
		return m, err
	}
	length, code := int64(int32(binary.LittleEndian.Uint32(header))), binary.LittleEndian.Uint32(header[12:])
	m.id, m.query = int32(binary.LittleEndian.Uint32(header[4:])), code == opQuery
	switch {
	case length <= headerLength || length > wire.MaxMsgLen:
		return m, malformed("A message of %d bytes is none.", length)
	case code == opCompressed:
		return m, malformed("Compression was not agreed upon.")
	case code != opMsg && code != opQuery:
		return m, malformed("The operation %d is not supported.", code)
	case length > wholly && (!loggedIn || code != opMsg):
		return m, malformed("A message of %d bytes is too long before a user has logged in.", length)
	case length > wholly:
		return m, m.readStart(r, header, length)
	}
	m.head = make([]byte, length)
	copy(m.head, header)
	if _, err := io.ReadFull(r, m.head[headerLength:]); err != nil {
		return m, err
	}
	return m, m.parse()
}

// readStart reads what a long message begins with: the command. It must be none by which a user logs in.
func (m *message) readStart(r *bufio.Reader, header []byte, length int64) error {
	const flags, kind, size, sort = 4, 1, 4, 1 // what comes before the name of the command
	start := make([]byte, flags+kind+size+sort)
	if _, err := io.ReadFull(r, start); err != nil {
		return err
	}
	given := binary.LittleEndian.Uint32(start)
	if start[flags] != 0 || given&checksumPresent != 0 {
		return malformed("A long message begins with its command.")
	}
	name, err := r.ReadSlice(0)
	if err != nil {
		return malformed("A long message begins with the name of its command.")
	}
	if m.name = string(name[:len(name)-1]); logsIn(m.name) || m.name == "getLog" {
		return malformed("The message of the command %s is too long.", m.name)
	}
	m.head, m.sort = append(append(header, start...), name...), start[flags+kind+size]
	m.rest, m.mute = length-int64(len(m.head)), given&moreToCome != 0
	if m.rest < 0 {
		return malformed("A message ends before its command does.")
	}
	return nil
}

// logsIn tells whether a user may be named by the command.
func logsIn(command string) bool {
	switch command {
	case "saslStart", "hello", "isMaster", "ismaster":
		return true
	}
	return false
}

// goesOnWithLogin tells whether it is one of those by which a user proves to have a password.
func (m *message) goesOnWithLogin() bool { return m.name == "saslContinue" }

// isOfADrill tells whether it is one by which a drill logs in, writes, or looks for what it has written.
func (m *message) isOfADrill() bool {
	if m.command == nil {
		return false
	}
	switch {
	case logsIn(m.name), m.goesOnWithLogin():
		return true
	case m.name == "update", m.name == "find":
		return m.command.Get(m.name) == DrillCollection && m.command.Get("$db") == DrillDatabase
	}
	return false
}

// parse finds the user in a message that was read whole.
func (m *message) parse() (err error) {
	defer func() {
		if caught := recover(); caught != nil { // the parser trusts lengths in places
			err = malformed("The message cannot be read.")
		}
	}()
	doc, err := m.document()
	if err != nil {
		return err
	}
	m.command, m.name = doc, doc.Command()
	for name := range doc.Fields() {
		if isOfTransaction(name) {
			return errTransaction
		}
	}
	if refused := refusesToMake(doc); refused != nil {
		return refused
	}
	if readsLog(doc) {
		return errDenied
	}
	if !logsIn(m.name) {
		return nil
	}
	if m.name != "saslStart" {
		speculative := doc.Get("speculativeAuthenticate")
		if speculative == nil {
			return nil
		}
		within, ok := speculative.(wirebson.AnyDocument)
		if !ok {
			return malformed("speculativeAuthenticate is no document.")
		}
		if doc, err = within.Decode(); err != nil {
			return malformed("speculativeAuthenticate cannot be read.")
		}
	}
	m.login = doc
	m.user, err = userOf(doc)
	return err
}

// disguise has the message name the decoy. FerretDB tells whether there is a user before it has seen a proof of the
// password; of the decoy nobody has one, and so all who are refused are refused alike.
func (m *message) disguise() error {
	payload := m.login.Get("payload").(wirebson.Binary) // as userOf has seen
	_, nonce, _ := strings.Cut(string(payload.B), ",r=")
	payload.B = []byte("n,,n=" + Decoy + ",r=" + nonce)
	if err := m.login.Replace("payload", payload); err != nil {
		return err
	}
	if m.command != m.login {
		if err := m.command.Replace("speculativeAuthenticate", m.login); err != nil {
			return err
		}
	}
	body := wire.MsgBody(nil)
	var err error
	if m.query {
		q := &wire.OpQuery{}
		if err := q.UnmarshalBinaryNocopy(m.head[headerLength:]); err != nil {
			return err
		}
		again, err := wire.NewOpQuery(m.command)
		if err != nil {
			return err
		}
		again.Flags, again.FullCollectionName = q.Flags, q.FullCollectionName
		again.NumberToSkip, again.NumberToReturn = q.NumberToSkip, q.NumberToReturn
		body = again
	} else if body, err = wire.NewOpMsg(m.command); err != nil {
		return err
	}
	encoded, err := body.MarshalBinary()
	if err != nil {
		return err
	}
	m.head = append(m.head[:headerLength:headerLength], encoded...)
	binary.LittleEndian.PutUint32(m.head, uint32(len(m.head)))
	return nil
}

// document returns the command.
func (m *message) document() (*wirebson.Document, error) {
	body := m.head[headerLength:]
	if m.query {
		var q wire.OpQuery
		if err := q.UnmarshalBinaryNocopy(body); err != nil {
			return nil, malformed("The message cannot be read.")
		}
		return decoded(q.Query())
	}
	var o wire.OpMsg
	if len(body) < 4 {
		return nil, malformed("The message cannot be read.")
	}
	flags := binary.LittleEndian.Uint32(body)
	m.mute = flags&moreToCome != 0
	if flags&checksumPresent != 0 {
		return nil, malformed("Checksums are not supported.")
	}
	if err := o.UnmarshalBinaryNocopy(body); err != nil {
		return nil, malformed("The message cannot be read.")
	}
	return decoded(o.Section0Raw().Decode())
}

func decoded(doc *wirebson.Document, err error) (*wirebson.Document, error) {
	if err != nil {
		return nil, malformed("The message's command cannot be read.")
	}
	return doc, nil
}

// firstOfClient is how a client of SCRAM begins, RFC 5802: without channel binding, in nobody else's name. Names of
// ours have nothing in them that would be written in another way.
var firstOfClient = regexp.MustCompile(`^n,,n=([a-z][a-z0-9_]{0,31}),r=[!-+\x2d-~]+$`)

// userOf returns whom saslStart names.
func userOf(doc *wirebson.Document) (string, error) {
	payload, ok := doc.Get("payload").(wirebson.Binary)
	if !ok {
		return "", errUnauthenticated
	}
	match := firstOfClient.FindSubmatch(payload.B)
	if match == nil {
		return "", errUnauthenticated
	}
	return string(match[1]), nil
}

// answer tells a client why its message was refused.
func answer(w io.Writer, m message, r *refusal) error {
	doc := wirebson.MustDocument("ok", float64(0), "errmsg", r.sentence, "code", r.code, "codeName", r.name)
	header := wire.MsgHeader{ResponseTo: m.id}
	var body wire.MsgBody
	if m.query {
		header.OpCode, body = wire.OpCodeReply, wire.MustOpReply("ok", float64(0), "errmsg", r.sentence, "code", r.code)
	} else {
		msg, err := wire.NewOpMsg(doc)
		if err != nil {
			return err
		}
		header.OpCode, body = wire.OpCodeMsg, msg
	}
	return write(w, header, body)
}

// write writes a message, whose length it finds out.
func write(w io.Writer, header wire.MsgHeader, body wire.MsgBody) error {
	encoded, err := body.MarshalBinary()
	if err != nil {
		return err
	}
	header.MessageLength = int32(headerLength + len(encoded))
	head, err := header.MarshalBinary()
	if err == nil {
		_, err = w.Write(append(head, encoded...))
	}
	return err
}

// mostOfAnswer bounds what FerretDB says to who has not logged in.
const mostOfAnswer = 1 << 20

// readAnswer reads one answer of FerretDB's.
func readAnswer(from io.Reader) ([]byte, error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(from, header); err != nil {
		return nil, err
	}
	length := int64(int32(binary.LittleEndian.Uint32(header)))
	if length < headerLength || length > mostOfAnswer {
		return nil, fmt.Errorf("FerretDB answers with %d bytes", length)
	}
	answer := make([]byte, length)
	copy(answer, header)
	_, err := io.ReadFull(from, answer[headerLength:])
	return answer, err
}

// answered tells how long an answer of FerretDB's is, and to which request.
func answered(from *bufio.Reader) (length int64, request int32, err error) {
	header, err := from.Peek(headerLength)
	if err != nil {
		return 0, 0, err
	}
	length = int64(int32(binary.LittleEndian.Uint32(header)))
	if length < headerLength {
		return 0, 0, errors.New("FerretDB's answer is none")
	}
	return length, int32(binary.LittleEndian.Uint32(header[8:])), nil
}

// endsLogin tells whether FerretDB says by an answer that it lets the user in whose login it was told of.
func endsLogin(answer []byte) bool {
	if binary.LittleEndian.Uint32(answer[12:]) != opMsg {
		return false
	}
	var o wire.OpMsg
	if o.UnmarshalBinaryNocopy(answer[headerLength:]) != nil {
		return false
	}
	doc, err := o.Section0Raw().Decode()
	return err == nil && doc.Get("done") == true && doc.Get("ok") == float64(1)
}
