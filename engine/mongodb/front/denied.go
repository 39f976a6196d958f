package front

import (
	"bufio"
	"bytes"
	"strings"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
)

// errDenied is MongoDB's own answer to who lacks a right. PostgreSQL finds that out, and FerretDB passes on what it says,
// which names things of PostgreSQL's, as an error inside of the server.
var errDenied = &refusal{code: 13, name: "Unauthorized", sentence: "The user has no right to do that."}

// mostOfDenial is longer than any answer by which a right is denied.
const mostOfDenial = 4 << 10

// isDenied tells whether the next answer, of that length, denies the right to what was asked for.
func isDenied(from *bufio.Reader, length int64) bool {
	if length > mostOfDenial {
		return false
	}
	said, err := from.Peek(int(length))
	if err != nil || !bytes.Contains(said, []byte(denial)) {
		return false
	}
	var o wire.OpMsg
	if o.UnmarshalBinaryNocopy(said[headerLength:]) != nil {
		return false
	}
	doc, err := o.Section0Raw().DecodeDeep()
	if err != nil {
		return false
	}
	if doc.Get("ok") == float64(0) {
		return denies(doc)
	}
	// Who may not write is told so of each document: the first stands for all.
	failed, ok := doc.Get("writeErrors").(*wirebson.Array)
	if !ok || failed.Len() == 0 {
		return false
	}
	first, ok := failed.Get(0).(*wirebson.Document)
	return ok && denies(first)
}

// denial is how PostgreSQL begins to say that a role lacks a right.
const denial = "permission denied"

// denies tells whether an error of FerretDB's is that of PostgreSQL by which it denies a right.
func denies(e *wirebson.Document) bool {
	sentence, ok := e.Get("errmsg").(string)
	return ok && e.Get("code") == int32(1) && strings.HasPrefix(sentence, denial)
}
