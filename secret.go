package backstay

// Secret is a string that does not print: in logs, errors and formatted output it shows as
// [redacted]. Reveal is the one way out, so a search for it finds every place a secret leaves.
// Encoded as JSON it is its true value: JSON is how secrets reach sealed storage and their owner.
type Secret string

func (Secret) String() string   { return "[redacted]" }
func (Secret) GoString() string { return "[redacted]" }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }
