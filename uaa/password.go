package uaa

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
)

// cost is what a guess costs. Memory is in KiB.
type cost struct {
	memory, time uint32
	threads      uint8
}

// currentCost is OWASP's first choice for Argon2id: about 30 ms of one core. Passwords hashed at
// another cost are hashed anew when their user logs in.
var currentCost = cost{memory: 19 << 10, time: 2, threads: 1}

const (
	saltSize = 16
	hashSize = 32
)

// hashing bounds how many passwords are hashed at once: each takes 19 MiB, and as each is counted
// before the next begins, guessing in parallel gains little.
var hashing = make(chan struct{}, 2)

// awaitTurn waits until a password may be hashed. The caller must call done.
func awaitTurn(ctx context.Context) (done func(), err error) {
	select {
	case hashing <- struct{}{}:
		return func() { <-hashing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hashPassword returns an Argon2id hash in the PHC string format. It takes a turn.
func hashPassword(ctx context.Context, password string) (string, error) {
	done, err := awaitTurn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return newPasswordHash(password).String(), nil
}

func newPasswordHash(password string) passwordHash {
	h := passwordHash{cost: currentCost, salt: make([]byte, saltSize)}
	rand.Read(h.salt) // never fails
	h.hash = h.derive(password)
	return h
}

type passwordHash struct {
	cost
	salt, hash []byte
}

// nobody is the hash for unknown users, so that they take as long as a wrong password.
var nobody = sync.OnceValue(func() passwordHash { return newPasswordHash(rand.Text()) })

func (h passwordHash) derive(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, hashSize)
}

func (h passwordHash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.derive(password), h.hash) == 1
}

const passwordFormat = "$argon2id$v=%d$m=%d,t=%d,p=%d$"

func (h passwordHash) String() string {
	return fmt.Sprintf(passwordFormat+"%s$%s", argon2.Version, h.memory, h.time, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.hash))
}

var errPasswordHash = errors.New("the kept password hash is damaged")

// parsePasswordHash is the inverse of String. It refuses what could not be derived, or not on any
// machine.
func parsePasswordHash(text string) (h passwordHash, err error) {
	fields := strings.Split(text, "$")
	if len(fields) != 6 {
		return h, errPasswordHash
	}
	var version int
	if _, err := fmt.Sscanf(strings.Join(fields[:4], "$")+"$", passwordFormat, &version, &h.memory, &h.time,
		&h.threads); err != nil ||
		version != argon2.Version {
		return h, errPasswordHash
	}
	if h.time < 1 || h.time > 1<<10 || h.threads < 1 || h.memory > 1<<20 {
		return h, errPasswordHash
	}
	h.salt, err = base64.RawStdEncoding.DecodeString(fields[4])
	if err != nil {
		return h, errPasswordHash
	}
	h.hash, err = base64.RawStdEncoding.DecodeString(fields[5])
	if err != nil || len(h.hash) != hashSize {
		return h, errPasswordHash
	}
	return h, nil
}
