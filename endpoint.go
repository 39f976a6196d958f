package backstay

import "log/slog"

// Endpoint is the stable host and port that credentials name; it outlives every node. The zero
// Endpoint is an instance that is reached only on this machine, by whoever runs the keeper.
type Endpoint struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// Size is what a plan gives an instance.
type Size struct {
	Storage     Bytes `json:"storage"`
	Memory      Bytes `json:"memory"`
	Connections int   `json:"connections"` // clients at once
}

// Certificate is what an instance proves its endpoint with, all PEM: a leaf, with the chain behind it, its key, and the
// authority that clients verify it by, which is empty if every client knows that.
type Certificate struct {
	Leaf      string `json:"leaf"`
	Key       Secret `json:"key"`
	Authority string `json:"authority"`
}

// LogValue is the certificate without its key.
func (c Certificate) LogValue() slog.Value { return RedactedValue(c) }
