package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
)

// Client logs in once, by SCRAM-SHA-256 (RFC 5802 and 7677) without channel binding. Names and passwords are printable
// ASCII, and names have neither a comma nor an equals sign.
type Client struct {
	User     string
	Password backstay.Secret

	nonce     string
	signature []byte // by which the server proves that it knows of the password
}

// NewClient returns one that has said nothing yet.
func NewClient(user string, password backstay.Secret) *Client {
	return &Client{User: user, Password: password, nonce: rand.Text()}
}

// LogValue is the client without the password.
func (c *Client) LogValue() slog.Value { return backstay.RedactedValue(*c) }

// withoutBinding is what a client begins with that binds the login to no channel.
const withoutBinding = "n,,"

// First is what the client says at first.
func (c *Client) First() string { return withoutBinding + c.firstBare() }

func (c *Client) firstBare() string { return "n=" + c.User + ",r=" + c.nonce }

var errUnexpected = errors.New("the server answers a login with something else than is to follow")

// longestDerivation is how often a server may have a key derived: more is no protection, and takes us long.
const longestDerivation = 1_000_000

// Final proves to have the password, to a server that has answered First with this.
func (c *Client) Final(answer string) (string, error) {
	nonce, rest, _ := strings.Cut(answer, ",s=")
	encoded, times, _ := strings.Cut(rest, ",i=")
	salt, err := base64.StdEncoding.DecodeString(encoded)
	count, errCount := strconv.Atoi(times)
	own := strings.HasPrefix(nonce, "r="+c.nonce) && len(nonce) > len("r="+c.nonce)
	if err != nil || errCount != nil || !own || count < iterations || count > longestDerivation {
		return "", errUnexpected
	}
	salted, err := pbkdf2.Key(sha256.New, c.Password.Reveal(), salt, count, sha256.Size)
	if err != nil {
		return "", err
	}
	final := "c=" + base64.StdEncoding.EncodeToString([]byte(withoutBinding)) + "," + nonce
	message := c.firstBare() + "," + answer + "," + final
	proof := keyed(salted, "Client Key")
	stored := sha256.Sum256(proof)
	for i, b := range keyed(stored[:], message) {
		proof[i] ^= b
	}
	c.signature = keyed(keyed(salted, "Server Key"), message)
	return final + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// Verify wants the server's answer to Final to prove that it knows of the password.
func (c *Client) Verify(answer string) error {
	encoded, is := strings.CutPrefix(answer, "v=")
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if !is || err != nil || c.signature == nil || !hmac.Equal(signature, c.signature) {
		return errUnexpected
	}
	return nil
}
