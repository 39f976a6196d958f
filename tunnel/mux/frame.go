package mux

import (
	"encoding/binary"
	"fmt"
)

type kind byte

const (
	kindOpen kind = iota + 1
	kindData
	kindCredit
	kindEnd
	kindReset
	kindPing
	kindPong
)

// numbered kinds add one number of four bytes; of the others, only data adds anything.
func (k kind) numbered() bool { return k == kindOpen || k == kindCredit || k == kindReset }

const (
	headerSize = 1 + 4
	// MaxFrame is as long as a frame may be.
	MaxFrame = 64 << 10
	// MaxData is as much as one frame carries.
	MaxData = MaxFrame - headerSize
	// FirstWindow is what the end that accepts streams takes in before it has given credit.
	FirstWindow = 512 << 10
)

// frame is one frame taken apart. Its data are the reader's only until the next frame is read.
type frame struct {
	kind   kind
	stream uint32
	number uint32
	data   []byte
}

func (f frame) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(f.kind)), f.stream)
	if f.kind.numbered() {
		return binary.BigEndian.AppendUint32(b, f.number)
	}
	return append(b, f.data...)
}

func parse(b []byte) (frame, error) {
	if len(b) < headerSize {
		return frame{}, fmt.Errorf("a frame of %d bytes", len(b))
	}
	f := frame{kind: kind(b[0]), stream: binary.BigEndian.Uint32(b[1:])}
	rest := b[headerSize:]
	switch {
	case f.kind == kindData && len(rest) > 0:
		f.data = rest
	case f.kind.numbered() && len(rest) == 4:
		f.number = binary.BigEndian.Uint32(rest)
	case len(rest) == 0 && (f.kind == kindEnd || f.kind == kindPing || f.kind == kindPong):
	default:
		return frame{}, fmt.Errorf("a frame of kind %d with %d bytes", f.kind, len(rest))
	}
	return f, nil
}
