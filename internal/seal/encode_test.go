package seal_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
)

// chest has secrets at all depths.
type chest struct {
	Label  string
	Own    backstay.Secret
	Empty  backstay.Secret
	Raw    json.RawMessage
	Inner  *chest                       `json:",omitempty"`
	Many   []chest                      `json:",omitempty"`
	Named  map[string]backstay.Secret   `json:",omitempty"`
	Nested map[string][]backstay.Secret `json:",omitempty"`
	Pair   [2]backstay.Secret
}

func newChest() *chest {
	const s = backstay.Secret("hunter2")
	leaf := chest{Label: "leaf", Own: s, Raw: json.RawMessage(`{"a":1}`)}
	return &chest{
		Label: "root", Own: s, Raw: json.RawMessage(`[]`), Inner: &leaf, Many: []chest{leaf, leaf},
		Named: map[string]backstay.Secret{"a": s}, Nested: map[string][]backstay.Secret{"b": {s, s}},
		Pair: [2]backstay.Secret{s, s},
	}
}

func TestEncodeSealsSecretsAlone(t *testing.T) {
	t.Parallel()
	const count = 9
	value := newChest()
	text, err := key.Encode(value, "chest/1")
	if err != nil || !reflect.DeepEqual(value, newChest()) {
		t.Fatalf("the value was changed, or cannot be encoded: %v", err)
	}
	if bytes.Contains(text, []byte("hunter2")) || !bytes.Contains(text, []byte("root")) {
		t.Errorf("sealed, it is %s", text)
	}
	var back, shut chest
	if found, err := key.Decode(text, &back, "chest/1"); err != nil || found != (seal.Found{}) ||
		!reflect.DeepEqual(&back, newChest()) {
		t.Errorf("it came back as %+v: %+v, %v", back, found, err)
	}
	if _, err := key.Decode(text, &back, "chest/2"); err == nil {
		t.Error("it was moved to another chest")
	}
	if found, err := (seal.Key{}).Decode(text, &shut, "chest/1"); err != nil || found.Sealed != count ||
		!strings.HasPrefix(shut.Own.Reveal(), "sealed:") || shut.Inner.Label != "leaf" {
		t.Errorf("without a key: %+v, %v", found, err)
	}
	if again, err := (seal.Key{}).Encode(&shut, "chest/1"); err != nil || !bytes.Equal(again, text) {
		t.Errorf("without a key, it does not stay as it is (%v)", err)
	}
	clear, err := (seal.Key{}).Encode(value, "chest/1")
	if err != nil || bytes.Count(clear, []byte("hunter2")) != count {
		t.Errorf("in clear, it is %s (%v)", clear, err)
	}
	if found, err := key.Decode(clear, &back, "chest/1"); err != nil || found.Clear != count ||
		!reflect.DeepEqual(&back, newChest()) {
		t.Errorf("what is in clear is read as %+v: %+v, %v", back, found, err)
	}
}
