// Package seal encrypts what must not lie in the clear. It knows neither what it seals nor where
// that is kept; what a sealed value belongs to is part of it, so that it cannot be moved.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
)

// Key seals and opens. It is 256 random bits, and no verb, handler or encoding prints it. The zero Key
// panics when used: it is one that somebody forgot to load.
type Key [chacha20poly1305.KeySize]byte

// String is backstay.Redacted.
func (Key) String() string { return backstay.Redacted }

// Format writes backstay.Redacted, whatever the verb.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, backstay.Redacted) }

// LogValue is backstay.Redacted.
func (Key) LogValue() slog.Value { return slog.StringValue(backstay.Redacted) }

// MarshalText is backstay.Redacted, in JSON too.
func (Key) MarshalText() ([]byte, error) { return []byte(backstay.Redacted), nil }

// version is the first byte of what Seal returns: XChaCha20-Poly1305 with a random nonce before the
// ciphertext.
const version = 1

// Seal encrypts plain for the context, which Open must be given again, such as "binding/ID/password".
func (k Key) Seal(plain []byte, context string) []byte {
	sealed := make([]byte, 1+chacha20poly1305.NonceSizeX,
		1+chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	sealed[0] = version
	nonce := sealed[1:]
	rand.Read(nonce) // never fails
	return k.aead().Seal(sealed, nonce, plain, []byte(context))
}

// Open is the inverse of Seal. It fails if sealed is damaged, was sealed with another key, or for
// another context.
func (k Key) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < 1+chacha20poly1305.NonceSizeX || sealed[0] != version {
		return nil, errors.New("this is not a sealed value")
	}
	nonce, box := sealed[1:1+chacha20poly1305.NonceSizeX], sealed[1+chacha20poly1305.NonceSizeX:]
	plain, err := k.aead().Open(nil, nonce, box, []byte(context))
	if err != nil {
		return nil, errors.New("a sealed value cannot be opened: it is damaged, or was sealed with another key " +
			"or for something else")
	}
	return plain, nil
}

// Derive returns a key for the purpose, 64 hexadecimal digits: HKDF of RFC 5869 with SHA-256. It is the same each time,
// and tells nothing of k, nor of the key for another purpose.
func (k Key) Derive(purpose string) backstay.Secret {
	if k == (Key{}) {
		panic("seal: the key was never loaded")
	}
	derived, err := hkdf.Key(sha256.New, k[:], nil, purpose, len(k))
	if err != nil {
		panic(err) // only a size that the hash cannot give is refused
	}
	return backstay.Secret(hex.EncodeToString(derived))
}

func (k Key) aead() cipher.AEAD {
	if k == (Key{}) {
		panic("seal: the key was never loaded")
	}
	aead, err := chacha20poly1305.NewX(k[:])
	if err != nil {
		panic(err) // the key's size is its type's
	}
	return aead
}

// Text is the key as files have it, 64 hexadecimal digits.
func (k Key) Text() backstay.Secret { return backstay.Secret(hex.EncodeToString(k[:])) }

// ParseKey is the inverse of Text.
func ParseKey(text backstay.Secret) (Key, error) {
	return parse([]byte(text.Reveal()), "what was kept")
}

// Fingerprint tells one key from another for people, by eight hexadecimal digits, and tells nothing else of it.
func (k Key) Fingerprint() string { return k.Derive("fingerprint").Reveal()[:8] }

// Create keeps the key in a file at path: hexadecimal, with a newline, and for its owner alone. The file is made whole
// or not at all; one that is there already is left as it is, and is fs.ErrExist.
func (k Key) Create(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".seal-") // for its owner alone
	if err != nil {
		return fmt.Errorf("make sealing key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintln(f, k.Text().Reveal())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make sealing key: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("make sealing key: %w", err)
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// Load reads the key kept in the file at path, as Create makes it; it wraps fs.ErrNotExist if there is none.
func Load(path string) (k Key, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return k, err
	}
	if !info.Mode().IsRegular() {
		return k, fmt.Errorf("the sealing key %s is no file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return k, fmt.Errorf("the sealing key %s is open to others than its owner: "+
			"chmod 600 it, and ask yourself who has read it", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	return parse(text, path)
}
