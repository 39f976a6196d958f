package mysql

import (
	"crypto/sha1"
	"fmt"

	"github.com/backstay/backstay"
)

// hashed is what the server keeps instead of a password (mysql_native_password: all clients know it).
// SHA-1 without salt is weak for words that people choose; bindings' passwords are random, and they
// cross the network inside TLS alone.
func hashed(password backstay.Secret) string {
	once := sha1.Sum([]byte(password.Reveal()))
	return fmt.Sprintf("*%X", sha1.Sum(once[:]))
}
