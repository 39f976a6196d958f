package tunnel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/backstay/backstay"
)

// protocol is the WebSocket subprotocol that both ends must speak. A change that an older end would
// misunderstand gets the next number.
const (
	protocolName = "tunnel.backstay."
	protocol     = protocolName + "1"
)

// verb is what a stream is for.
type verb string

const (
	dial   verb = "dial"   // carry this stream to the instance of a binding
	bind   verb = "bind"   // lend credentials for as long as the tunnel lasts
	keep   verb = "keep"   // hold what an earlier tunnel was lent, if it may still be dialed
	unbind verb = "unbind" // take it back
	renew  verb = "renew"  // go on with this token
)

// request is what the client begins each stream with.
type request struct {
	Verb       verb                `json:"verb"`
	Binding    backstay.BindingID  `json:"binding,omitempty"`    // dial, keep, unbind
	Instance   backstay.InstanceID `json:"instance,omitempty"`   // bind
	Name       string              `json:"name,omitempty"`       // bind
	Parameters json.RawMessage     `json:"parameters,omitempty"` // bind: an object
	Token      backstay.Secret     `json:"token,omitempty"`      // renew: an Authorization header's value
}

// answer is what the server says to a request. A stream that was dialed carries bytes after it.
type answer struct {
	Refusal     *refusal             `json:"refusal,omitempty"`
	Binding     backstay.BindingID   `json:"binding,omitempty"`     // to bind
	Credentials backstay.Credentials `json:"credentials,omitempty"` // to bind
}

type refusal struct {
	Kind     string `json:"kind"`
	Sentence string `json:"sentence"`
}

func refuse(err error) answer {
	return answer{Refusal: &refusal{backstay.KindOf(err).String(), backstay.SentenceOf(err)}}
}

func (a answer) err() error {
	if a.Refusal == nil {
		return nil
	}
	return backstay.Errorf(backstay.KindFromString(a.Refusal.Kind), "%s", a.Refusal.Sentence)
}

// maxMessage is what a length of two bytes can say.
const maxMessage = math.MaxUint16

// writeMessage sends a message as JSON, its length before it.
func writeMessage(w io.Writer, m any) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(text) > maxMessage {
		return backstay.Errorf(backstay.Invalid,
			"What is sent through a tunnel to begin with must not be longer than %d bytes; this is "+
				"%d.", maxMessage, len(text))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...))
	return err
}

// readMessage reads one message and not a byte of what follows.
func readMessage(r io.Reader, m any) error {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	text := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(r, text); err != nil {
		return err
	}
	if err := json.Unmarshal(text, m); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "A stream of a tunnel began with something else than a message.")
	}
	return nil
}

// checkProtocol refuses a client that does not speak ours, by the subprotocols that it offers.
func checkProtocol(offered []string) error {
	var spoken []string
	for _, header := range offered {
		for name := range strings.SplitSeq(header, ",") {
			spoken = append(spoken, strings.TrimSpace(name))
		}
	}
	if slices.Contains(spoken, protocol) {
		return nil
	}
	return backstay.Errorf(backstay.Invalid,
		"This Backstay speaks the tunnel protocol %s, and the plugin another one. Install the plugin that belongs "+
			"to it: cf install-plugin conduit -r backstay -f", protocol)
}
