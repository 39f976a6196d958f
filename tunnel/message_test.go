package tunnel

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// What a stream begins with is read whole or refused, and nothing of what follows is taken.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x00\x02{}rest"))
	f.Add([]byte("\x00\x27{\"verb\":\"dial\",\"binding\":\"0123456789\"}rest"))
	f.Add([]byte("\x00\x12{\"verb\":\"renew\",\"token\":1}"))
	f.Add([]byte("\xff\xff{"))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, sent []byte) {
		from := bytes.NewReader(sent)
		var r request
		if err := readMessage(from, &r); err != nil {
			return
		}
		if taken := len(sent) - from.Len(); taken != 2+int(sent[0])<<8+int(sent[1]) {
			t.Fatalf("%d bytes were taken of %q", taken, sent)
		}
		var again bytes.Buffer
		if err := writeMessage(&again, r); err != nil {
			if backstay.KindOf(err) != backstay.Invalid {
				t.Fatalf("%q cannot be written again: %v", sent, err)
			}
			return // JSON's escapes made it too long
		}
		var same request
		if err := readMessage(
			&again, &same,
		); err != nil || same.Verb != r.Verb || same.Binding != r.Binding || same.Token != r.Token || again.Len() > 0 {
			t.Fatalf("%#v became %#v, %v", r, same, err)
		}
	})
}

func TestMessagesHaveALimit(t *testing.T) {
	t.Parallel()
	r := request{Verb: bind, Parameters: json.RawMessage(`"` + strings.Repeat("x", maxMessage) + `"`)}
	if err := writeMessage(io.Discard, r); backstay.KindOf(err) != backstay.Invalid {
		t.Error(err)
	}
}

func TestEveryKindHasAStatusOfItsOwnMeaning(t *testing.T) {
	t.Parallel()
	for _, k := range backstay.Kinds() {
		if statuses[k] < 400 {
			t.Errorf("%v has no status", k)
		}
	}
}

func TestProtocol(t *testing.T) {
	t.Parallel()
	for offered, ok := range map[string]bool{protocol: true, "chat, " + protocol: true, "": false, protocolName + "2": false, protocol + "0": false} {
		if err := checkProtocol([]string{offered}); (err == nil) != ok {
			t.Errorf("%q: %v", offered, err)
		}
	}
}
