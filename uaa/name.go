package uaa

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay"
)

const (
	// minPassword is NIST's least (SP 800-63B); guessing is slowed.
	minPassword = 8
	maxPassword = 512
)

// usernames are UAA's: the letters are those of every alphabet.
var usernames = regexp.MustCompile(`^[\pL\pM0-9+_.@'!-]+$`)

// FoldName is a username as it is compared: names that differ in case alone, or in how their accents are written,
// are one.
func FoldName(name string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(name))) }

// checkUsername refuses a new user's name.
func checkUsername(name string) error {
	switch {
	case name == "":
		return backstay.Errorf(backstay.Invalid, "A username must be provided.")
	case len(name) > maxName:
		return backstay.Errorf(backstay.Invalid, "A username must not be longer than %d characters.", maxName)
	case !usernames.MatchString(name):
		return backstay.Errorf(backstay.Invalid, "Username %q must consist of letters, digits and + _ . @ ' ! -",
			name)
	}
	return nil
}

// checkPassword refuses a new password, or a client's new secret.
func checkPassword(password string) error {
	switch n := utf8.RuneCountInString(password); {
	case !isText(password):
		return backstay.Errorf(backstay.Invalid, "The password must be text.")
	case n < minPassword:
		return backstay.Errorf(backstay.Invalid, "The password must be at least %d characters long.", minPassword)
	case len(password) > maxPassword:
		return backstay.Errorf(backstay.Invalid, "The password must not be longer than %v.", backstay.Bytes(maxPassword))
	}
	return nil
}

var clientIDs = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// checkClientID refuses a new client's id. Roles name users and clients by id alone, so a client must
// not look like a user's.
func checkClientID(id string) error {
	switch {
	case !clientIDs.MatchString(id):
		return backstay.Errorf(backstay.Invalid, "A client's name must consist of at most 63 letters a to z, "+
			"digits and . _ - and begin with a letter or a digit, not be %q.", id)
	case id == client:
		return backstay.Errorf(backstay.Invalid, "The client %s is the cf command itself: choose another name.", client)
	case uuid.Validate(id) == nil:
		return backstay.Errorf(backstay.Invalid, "A client's name must not look like the id of a user, as %s does.", id)
	}
	return nil
}
