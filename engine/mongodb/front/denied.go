package front

import (
	"bufio"
	"bytes"
	"slices"
	"strings"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
)

// errDenied is MongoDB's own answer to who lacks a right. PostgreSQL finds that out, and FerretDB passes on what it
// says, which names things of PostgreSQL's, as an error inside of the server.
var errDenied = &refusal{code: 13, name: "Unauthorized", goesOn: true,
	sentence: "The user has no right to do that."}

// mostOfDenial is longer than any answer by which a right is denied.
const mostOfDenial = 4 << 10

// What FerretDB passes on of PostgreSQL's error insufficient_privilege (42501): of a command what it says, and nothing
// else that is its alone; of a document that was to be written its number, as PostgreSQL packs the five characters.
var denials = []string{"permission denied", "must be owner", "permisson denied"} // the last one is DocumentDB's own

const insufficientPrivilege = 4 | 2<<6 | 5<<12 | 0<<18 | 1<<24

// isDenied tells whether the next answer, of that length, denies the right to what was asked for.
func isDenied(from *bufio.Reader, length int64) bool {
	if length > mostOfDenial {
		return false
	}
	said, err := from.Peek(int(length))
	speaksOf := func(denial string) bool { return bytes.Contains(said, []byte(denial)) }
	if err != nil || !slices.ContainsFunc(denials, speaksOf) {
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
		sentence, _ := doc.Get("errmsg").(string)
		begins := func(denial string) bool { return strings.HasPrefix(sentence, denial) }
		return doc.Get("code") == int32(1) && slices.ContainsFunc(denials, begins)
	}
	// Who may not write is told so of each document: the first stands for all.
	failed, ok := doc.Get("writeErrors").(*wirebson.Array)
	if !ok || failed.Len() == 0 {
		return false
	}
	first, ok := failed.Get(0).(*wirebson.Document)
	return ok && first.Get("code") == int32(insufficientPrivilege)
}

// readsLog tells whether a command asks for more of the log, which tells of the machine, than the warnings of the
// start, which mongosh shows everybody.
func readsLog(command *wirebson.Document) bool {
	which := command.Get("getLog")
	return command.Command() == "getLog" && which != "startupWarnings" && which != "*"
}
