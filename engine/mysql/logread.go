package mysql

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"time"
)

// group is a transaction in a file of the binary log, or a statement that is none.
type group struct {
	from, to int64  // positions in the file
	text     string // of the last statement in it; a transaction's is COMMIT, or none
	// began is the second in which the statement began that commits it, or the file if that was later.
	began time.Time
	gtid  gtid
}

// errTorn says that a binary log does not go on as one: its server was killed while it wrote, or it was damaged.
var errTorn = errors.New("the binary log is torn")

var binlogMagic = []byte("\xfebin")

// Types of events, and where things are in them. They have not changed since MariaDB 10.0.
const (
	eventHeader   = 19
	eventChecksum = 4

	queryEvent      = 2
	formatEvent     = 15
	xidEvent        = 16
	xaPrepareEvent  = 38
	gtidEvent       = 162
	queryCompressed = 165

	headerFlags    = 17
	inUse          = 1 // of the format event, while the file is written to; its checksum is without it
	gtidFlags      = eventHeader + 12
	gtidStandalone = 1
	largestEvent   = 1<<30 + 1<<20
)

// logFile is what is known of a file of the binary log once it was read.
type logFile struct {
	created time.Time // the second in which it was begun: what is in it was committed then or later
	open    bool      // the server has not ended it in an orderly way, or writes to it
	groups  int       // that were read
	whole   int64     // where the last of these ends; 0 if there is none
	goesOn  bool      // something was written behind the place where it is torn
}

// isCut tells of a file that is torn whether its server was killed while it wrote the rest, and nothing is missing:
// what it does not hold was never committed.
func (f logFile) isCut() bool { return f.open && !f.goesOn }

// readLog reads a file of the binary log and calls each for the groups in it, until that returns false. The error is
// errTorn if the file holds something else than events, and that of the reader if it fails.
func readLog(r io.Reader, each func(group) bool) (f logFile, err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	magic := make([]byte, len(binlogMagic))
	if _, err := io.ReadFull(in, magic); err != nil || !bytes.Equal(magic, binlogMagic) {
		return f, torn(err, false)
	}
	at := int64(len(magic))
	var begun *opened
	for {
		e, err := readEvent(in)
		if err != nil {
			err = torn(err, e == nil && begun == nil)
			f.goesOn = errors.Is(err, errTorn) && anyEvent(io.MultiReader(bytes.NewReader(e), in))
			return f, err
		}
		from := at
		at += int64(len(e))
		switch {
		case e.kind() == formatEvent && f.created.IsZero():
			f.created, f.open = e.when(), e[headerFlags]&inUse != 0
		case e.kind() == gtidEvent && begun != nil:
			f.goesOn = true
			return f, errTorn
		case e.kind() == gtidEvent:
			begun = &opened{group{from: from, began: later(e.when(), f.created), gtid: e.gtid()},
				e[gtidFlags]&gtidStandalone != 0}
		case begun != nil && begun.endsWith(e):
			begun.to, begun.text = at, e.text()
			if !each(begun.group) {
				return f, nil
			}
			f.whole, begun = at, nil
			f.groups++
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// torn returns the error that says how a file ends: not at all, if it ends where it may.
func torn(err error, mayEnd bool) error {
	switch {
	case errors.Is(err, io.EOF) && mayEnd:
		return nil
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errTorn
	}
	return err
}

// opened is a group whose end was not read yet.
type opened struct {
	group
	standalone bool // ends with its first statement
}

func (o *opened) endsWith(e event) bool {
	switch e.kind() {
	case xidEvent, xaPrepareEvent:
		return true
	case queryEvent:
		return o.standalone || e.text() == "COMMIT" || e.text() == "ROLLBACK"
	case queryCompressed:
		return o.standalone
	}
	return false
}

// event is one event of a binary log, with its header and its checksum.
type event []byte

// readEvent returns the next event. Without an event, the error is io.EOF at the end of the file.
func readEvent(in io.Reader) (event, error) {
	e := make(event, eventHeader)
	if n, err := io.ReadFull(in, e); err != nil {
		if n == 0 {
			return nil, err
		}
		return e, err
	}
	size := int64(binary.LittleEndian.Uint32(e[9:]))
	if size < eventHeader+eventChecksum || size > largestEvent {
		return e, errTorn
	}
	whole := bytes.NewBuffer(e) // grows with what there is: the size may be nonsense
	if _, err := io.CopyN(whole, in, size-eventHeader); err != nil {
		return whole.Bytes(), err
	}
	if e = whole.Bytes(); !e.sound() {
		return e, errTorn
	}
	return e, nil
}

// shortEvent is as long as no event is that begins a group, or ends one.
const shortEvent = 512

// anyEvent tells whether there is an event somewhere that begins a group, or ends one. A server writes on behind an
// event of which it could write a part only, as when its disk was full: the length of that one does not tell where.
func anyEvent(r io.Reader) bool {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		next, _ := in.Peek(shortEvent)
		if len(next) < eventHeader+eventChecksum {
			return false
		}
		e := event(next)
		size := binary.LittleEndian.Uint32(e[9:])
		switch e.kind() {
		case gtidEvent, xidEvent, xaPrepareEvent, queryEvent:
			if size >= eventHeader+eventChecksum && int(size) <= len(e) && e[:size].sound() {
				return true
			}
		}
		in.Discard(1)
	}
}

func (e event) kind() byte      { return e[4] }
func (e event) when() time.Time { return time.Unix(int64(binary.LittleEndian.Uint32(e)), 0).UTC() }

// gtid is that of an event which begins a group.
func (e event) gtid() gtid {
	return gtid{domain: binary.LittleEndian.Uint32(e[eventHeader+8:]), server: binary.LittleEndian.Uint32(e[5:]),
		sequence: binary.LittleEndian.Uint64(e[eventHeader:])}
}

// sound compares the checksum.
func (e event) sound() bool {
	body, want := e[:len(e)-eventChecksum], binary.LittleEndian.Uint32(e[len(e)-eventChecksum:])
	if e.kind() == formatEvent && body[headerFlags]&inUse != 0 {
		body = bytes.Clone(body)
		body[headerFlags] &^= inUse
	}
	return crc32.ChecksumIEEE(body) == want && (e.kind() != gtidEvent || len(body) > gtidFlags)
}

// text is the statement of an event that holds one.
func (e event) text() string {
	const fixed = eventHeader + 13 // and then variables, the name of the database with a zero behind it, and the statement
	body := e[:len(e)-eventChecksum]
	if e.kind() != queryEvent || len(body) < fixed {
		return ""
	}
	begin := fixed + int(binary.LittleEndian.Uint16(e[fixed-2:])) + int(e[fixed-5]) + 1
	if begin > len(body) {
		return ""
	}
	return string(body[begin:])
}
