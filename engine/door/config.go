package door

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// ReadConfig reads what a companion is told, from the JSON in the file at path.
func ReadConfig[C any](path string) (c C, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Certificate reads a certificate and its key, from files of these names beside the configuration at path.
func Certificate(path, leaf, key string) (*tls.Certificate, error) {
	dir := filepath.Dir(path)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, leaf), filepath.Join(dir, key))
	return &pair, err
}
