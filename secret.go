package backstay

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what stands in the place of a secret wherever one would be printed.
const Redacted = "[redacted]"

// Secret is a string that does not print: every verb of fmt, every handler of slog and every encoding of
// text shows Redacted. Reveal is the one way out, so a search for it finds every place where a secret leaves.
//
// Its JSON is the secret itself, because JSON is how secrets reach sealed storage and their owner. A struct
// that has one among its fields therefore implements slog.LogValuer with RedactedValue: a handler that
// writes JSON would encode it otherwise. internal/archtest makes sure of that.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String is Redacted.
func (Secret) String() string { return Redacted }

// Format writes Redacted, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, Redacted) }

// LogValue is Redacted.
func (Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText is Redacted, in YAML, XML and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON encodes the secret itself.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(string(s)) }

// RedactedValue is v, with its secrets redacted, for a log: what "%+v" makes of it. It is the LogValue of
// types that carry secrets.
func RedactedValue(v any) slog.Value { return slog.StringValue(fmt.Sprintf("%+v", v)) }
