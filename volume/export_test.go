package volume

import (
	"context"
	"os"
	"testing"
)

// EachWritten is for tests that look into images.
var EachWritten = eachWritten

// Ways lists by which ways volumes may be encrypted.
func Ways() (ways []string) {
	for _, k := range encryptedKinds {
		ways = append(ways, k.way)
	}
	return ways
}

// EncryptBy has new volumes be encrypted by that way, whether the machine can or not.
func (p *Images) EncryptBy(way string) {
	for _, k := range encryptedKinds {
		if k.way == way {
			p.encrypted = k
		}
	}
}

// TryEncrypted tells why the machine cannot encrypt volumes by the way that was chosen.
func (p *Images) TryEncrypted(ctx context.Context) error { return p.tryKind(ctx, p.encrypted) }

// MappingOf is the name of the device by which an image is decrypted.
func MappingOf(t *testing.T, path string) string {
	t.Helper()
	image, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	m, err := mappingOf(image)
	if err != nil {
		t.Fatal(err)
	}
	return string(m)
}
