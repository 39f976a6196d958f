// Package scram makes what PostgreSQL keeps in the place of a password, and proves to whoever has that to know it.
package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/backstay/backstay"
)

// PostgreSQL's own defaults (src/include/common/scram-common.h).
const (
	iterations = 4096
	saltLength = 16
)

// Verifier is what PostgreSQL keeps instead of a password: RFC 5803, with the keys of RFC 5802,
// section 3. The password is printable ASCII, which SASLprep leaves as it is.
func Verifier(password backstay.Secret) (string, error) {
	salt := make([]byte, saltLength)
	rand.Read(salt) // never fails
	return verifierWith(password, salt)
}

func verifierWith(password backstay.Secret, salt []byte) (string, error) {
	for _, r := range password.Reveal() {
		if r < ' ' || r > '~' {
			return "", errors.New("a password is printable ASCII")
		}
	}
	salted, err := pbkdf2.Key(sha256.New, password.Reveal(), salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive key of password: %w", err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	server := keyed(salted, "Server Key")
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(server)), nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
