package front

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/FerretDB/wire/wirebson"
)

// TestDenied tells answers that deny a right from those that only speak of one.
func TestDenied(t *testing.T) {
	t.Parallel()
	const says = "permission denied for schema documentdb_data"
	each := func(code int32) *wirebson.Array {
		return wirebson.MustArray(wirebson.MustDocument("index", int32(0), "code", code, "errmsg", says))
	}
	long := strings.Repeat("x", mostOfDenial)
	for what, c := range map[string]struct {
		answer []byte
		want   bool
	}{
		"a denial":       {msg(t, "ok", 0.0, "errmsg", says, "code", int32(1), "codeName", "InternalError"), true},
		"of an owner":    {msg(t, "ok", 0.0, "errmsg", "must be owner of table documents_2", "code", int32(1)), true},
		"one of a write": {msg(t, "n", int32(0), "writeErrors", each(16797828), "ok", 1.0), true},
		"a duplicate":    {msg(t, "n", int32(0), "writeErrors", each(11000), "ok", 1.0), false},
		"another error":  {msg(t, "ok", 0.0, "errmsg", says, "code", int32(2)), false},
		"one quoting it": {msg(t, "ok", 0.0, "errmsg", "no "+says, "code", int32(1)), false},
		"a document":     {msg(t, "ok", 1.0, "errmsg", says, "code", int32(1)), false},
		"a long one":     {msg(t, "ok", 0.0, "errmsg", says, "code", int32(1), "kept", long), false},
		"no message":     {framed(opMsg, []byte(says)), false},
	} {
		from := bufio.NewReaderSize(bytes.NewReader(c.answer), 16<<10)
		if is := isDenied(from, int64(len(c.answer))); is != c.want {
			t.Errorf("%s is taken for one: %t", what, is)
		}
		if from.Buffered() != 0 && from.Buffered() != len(c.answer) {
			t.Errorf("of %s something was read away", what)
		}
	}
}
