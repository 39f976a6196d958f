package repository

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/minio/sio"

	"github.com/backstay/backstay"
)

// An object is sealed as magic, salt, and the content: compressed by zstd (RFC 8878) and encrypted in the format
// DARE 2.0, which finds what was changed, moved or cut off within it. The key is made, by HKDF with SHA-256 (RFC
// 5869), from the instance's, the salt and the object's name, so no two objects have the same one and none can
// stand in for another.
const (
	magic      = "backstay object 1\n"
	saltLength = 32
)

// first precedes the content within the encryption: DARE makes no package of nothing, and could then not tell that
// all packages are missing.
const first = 'z'

// seal writes the sealed form of what write writes.
func seal(to io.Writer, key []byte, name string, write func(io.Writer) error) (Stored, error) {
	size := &counter{to: to}
	head := append([]byte(magic), make([]byte, saltLength)...)
	rand.Read(head[len(magic):]) // never fails
	if _, err := size.Write(head); err != nil {
		return Stored{}, err
	}
	config, err := cipher(key, head[len(magic):], name)
	if err != nil {
		return Stored{}, err
	}
	encrypted, err := sio.EncryptWriter(size, config)
	if err != nil {
		return Stored{}, err
	}
	if _, err := encrypted.Write([]byte{first}); err != nil {
		return Stored{}, err
	}
	data, err := compress(encrypted, write)
	if err != nil { // encrypted is not closed: that would make what there is of it whole
		return Stored{}, err
	}
	if err := encrypted.Close(); err != nil {
		return Stored{}, err
	}
	return Stored{Data: data.n, Size: size.n, SHA256: hex.EncodeToString(data.sum.Sum(nil))}, nil
}

// compress writes what write writes, compressed, and returns what there was of it.
func compress(to io.Writer, write func(io.Writer) error) (*counter, error) {
	// One core at most: instances need the others.
	compressed, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
	if err != nil {
		return nil, err
	}
	data := &counter{to: compressed, sum: sha256.New()}
	if err := write(data); err != nil {
		compressed.Reset(nil) // leaves nothing behind
		return nil, err
	}
	return data, compressed.Close()
}

// unseal returns the content of a sealed object.
func unseal(sealed io.ReadCloser, key []byte, name string) (io.ReadCloser, error) {
	head := make([]byte, len(magic)+saltLength)
	if _, err := io.ReadFull(sealed, head); err != nil || string(head[:len(magic)]) != magic {
		return nil, damaged(name, cmp.Or(err, errors.New("it does not begin as an object does")))
	}
	config, err := cipher(key, head[len(magic):], name)
	if err != nil {
		return nil, err
	}
	plain, err := sio.DecryptReader(sealed, config)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(plain, head[:1]); err != nil || head[0] != first {
		return nil, damaged(name, cmp.Or(err, errors.New("its content does not begin as one does")))
	}
	decoder, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, damaged(name, err)
	}
	return &opened{sealed: sealed, plain: plain, decoder: decoder, name: name}, nil
}

// opened is the content of a sealed object, as it is read.
type opened struct {
	sealed  io.Closer
	plain   io.Reader
	decoder *zstd.Decoder
	name    string
}

func (o *opened) Read(p []byte) (int, error) {
	n, err := o.decoder.Read(p)
	if err == io.EOF {
		// The decoder may have stopped before the encryption's own end.
		if _, err := io.Copy(io.Discard, o.plain); err != nil {
			return n, damaged(o.name, err)
		}
		return n, io.EOF
	}
	if err != nil {
		return n, damaged(o.name, err)
	}
	return n, nil
}

func (o *opened) Close() error {
	o.decoder.Close()
	return o.sealed.Close()
}

func cipher(key, salt []byte, name string) (sio.Config, error) {
	own, err := hkdf.Key(sha256.New, key, salt, "backstay object "+name, keyLength)
	return sio.Config{MinVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM}, Key: own}, err
}

// damaged is err, which came of reading an object, as Invalid, unless the reason is that the repository is not there,
// or that nobody wants to read on.
func damaged(name string, err error) error {
	if backstay.KindOf(err) != backstay.Internal || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return backstay.Wrapf(err, backstay.Invalid,
		"The object %s in the repository is damaged, or was written with another key.", name)
}

// counter counts what is written through it, and adds it to a checksum if there is one.
type counter struct {
	to  io.Writer
	n   backstay.Bytes
	sum hash.Hash
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += backstay.Bytes(n)
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	return n, err
}
