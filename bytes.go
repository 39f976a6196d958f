package backstay

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a size. The units are those of plans and memory sizes: 1 KB is 1024 bytes.
type Bytes int64

const (
	KB Bytes = 1 << 10
	MB Bytes = 1 << 20
	GB Bytes = 1 << 30
	TB Bytes = 1 << 40
)

var units = []struct {
	name string
	size Bytes
}{{"TB", TB}, {"GB", GB}, {"MB", MB}, {"KB", KB}}

// String writes the size in the largest unit that divides it: "5GB", "568MB", "12B".
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Rounded is b rounded down to whole gigabytes, or megabytes if it is less than one.
func (b Bytes) Rounded() Bytes {
	for _, unit := range []Bytes{1 << 30, 1 << 20} {
		if b >= unit {
			return b / unit * unit
		}
	}
	return b
}

// ParseBytes reads what String writes. It refuses a size without a unit, a negative one and one
// that does not fit.
func ParseBytes(s string) (Bytes, error) {
	for _, u := range append(units, struct {
		name string
		size Bytes
	}{"B", 1}) {
		digits, ok := strings.CutSuffix(strings.ToUpper(s), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > int64(1<<63-1)/int64(u.size) {
			break
		}
		return Bytes(n) * u.size, nil
	}
	return 0, fmt.Errorf("size %q: want a whole number and a unit, as in 5GB or 568MB", s)
}

// UnmarshalText lets sizes stand in configuration as people write them.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
