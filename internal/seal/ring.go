package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Ring is the keys that a Backstay seals with. They stay the same for its life, and are themselves sealed with its
// sealing key, in an Envelope: another sealing key takes one small file, and no sealed value changes.
type Ring struct {
	State   Key // of what is in the state database
	Records Key // of the keeper's records; the zero Key: these are in clear
	Before  Key // what State was, while values are sealed anew; the zero Key: they are not
}

// NewRing returns keys that nobody has had before.
func NewRing() Ring { return Ring{State: New(), Records: New()} }

// Envelope is a Ring that is sealed with one sealing key or, while that is changed, with two: by the fingerprint of
// each.
type Envelope map[string][]byte

// ringContext is what a Ring is sealed for.
const ringContext = "ring of keys"

// Add has the key open the envelope too, and find the ring in it.
func (e Envelope) Add(k Key, r Ring) {
	e[k.Fingerprint()] = k.Seal(slices.Concat(r.State[:], r.Records[:], r.Before[:]), ringContext)
}

// Has tells whether the envelope is sealed with the key.
func (e Envelope) Has(k Key) bool { return e[k.Fingerprint()] != nil }

// Open returns the ring. It fails if the envelope is not sealed with the key, or is damaged.
func (e Envelope) Open(k Key) (r Ring, err error) {
	sealed, ok := e[k.Fingerprint()]
	if !ok {
		return r, fmt.Errorf("this is key %s, and key %s is wanted", k.Fingerprint(), e.Fingerprints())
	}
	plain, err := k.Open(sealed, ringContext)
	if err != nil {
		return r, err
	}
	if len(plain) != 3*len(k) {
		return r, errors.New("what is sealed is no ring of keys")
	}
	copy(r.State[:], plain)
	copy(r.Records[:], plain[len(k):])
	copy(r.Before[:], plain[2*len(k):])
	return r, nil
}

// Fingerprints are those of the sealing keys that open the envelope.
func (e Envelope) Fingerprints() string { return strings.Join(slices.Sorted(maps.Keys(e)), " or ") }

// Text is the envelope as ParseEnvelope reads it: a line for each sealing key.
func (e Envelope) Text() []byte {
	var b bytes.Buffer
	for _, fingerprint := range slices.Sorted(maps.Keys(e)) {
		fmt.Fprintf(&b, "%s %x\n", fingerprint, e[fingerprint])
	}
	return b.Bytes()
}

// ParseEnvelope is the inverse of Text.
func ParseEnvelope(text []byte) (Envelope, error) {
	e := Envelope{}
	for line := range strings.Lines(string(text)) {
		fingerprint, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		sealed, err := hex.DecodeString(digits)
		if err != nil || len(sealed) == 0 {
			return nil, errors.New("it is damaged: a line of it is not a fingerprint and a sealed value")
		}
		e[fingerprint] = sealed
	}
	if len(e) == 0 {
		return nil, errors.New("it is damaged: it is empty")
	}
	return e, nil
}
