package uaa

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/guess"
)

// User is somebody with a password, or a client: a program that acts for itself, with a secret as its
// password.
type User struct {
	ID              backstay.UserID
	Username        string // unique among users, whatever its case; of a client: its id again
	GivenName       string
	FamilyName      string
	Email           string // empty: the username serves
	Client          bool
	Role            backstay.GlobalRole
	PasswordHash    string // Argon2id, in the PHC string format
	PasswordVersion int    // counts new passwords; tokens for an older one are dead
	Version         int    // counts changes of the user, new passwords among them

	// When the store recorded these, for people to read. It is not told them.
	CreatedAt, UpdatedAt, PasswordChangedAt time.Time
}

// RefreshToken is what the store knows of a refresh token: enough to recognize one, not to make one.
type RefreshToken struct {
	ID              string // its jti
	UserID          backstay.UserID
	PasswordVersion int // of the password that it was given for
	Hash            []byte
	ExpiresAt       time.Time
}

// Failures counts the wrong passwords that came in under one key.
type Failures = guess.Failures

// SealedKey is a key that access tokens are signed with. The highest number is the newest.
type SealedKey struct {
	Number    int
	Sealed    []byte
	CreatedAt time.Time
	ExpiresAt time.Time // when the last token that it signed is dead
}

// Store is the login server's memory. Each method is one transaction; those that are given an event
// record it with the fact, or neither, and none if the event has no Type. uaatest.RunStore is this
// contract as tests. Times are the server's, never the store's own.
type Store interface {
	UserStore
	TokenStore
	FailureStore
	KeyStore
	// RecordEvent records what has no other fact to be recorded with.
	RecordEvent(ctx context.Context, e backstay.Event) error
}

// UserStore keeps users and clients.
type UserStore interface {
	// AddUser is Taken if there is a user of that name in any case, or a client of that id.
	AddUser(ctx context.Context, u User, e backstay.Event) error
	// UserNamed finds a user by name in any case; NotFound if there is none. Clients have no name.
	UserNamed(ctx context.Context, username string) (User, error)
	// Account is the user or client of that id; NotFound if there is neither.
	Account(ctx context.Context, id backstay.UserID) (User, error)
	// Accounts lists users and then clients, each by name.
	Accounts(ctx context.Context) ([]User, error)
	// SetGlobalRole is NotFound if there is no such account, and Invalid if no user would be an
	// administrator afterwards, as RemoveUser is.
	SetGlobalRole(ctx context.Context, id backstay.UserID, role backstay.GlobalRole, e backstay.Event) error
	// RemoveUser removes a user or client with all their tokens and all their roles.
	RemoveUser(ctx context.Context, id backstay.UserID, e backstay.Event) error
	// UpdateUser gives the user of u's id the names and the e-mail address of u. It is NotFound if there is no such
	// user, Taken as AddUser is, and Busy if the user is not at u's Version any more.
	UpdateUser(ctx context.Context, u User, e backstay.Event) error
	// SetPassword gives a user a new password, which ends all their sessions; NotFound if there is
	// no such user.
	SetPassword(ctx context.Context, id backstay.UserID, hash string, e backstay.Event) error
	// RehashPassword replaces the hash of the same password, unless there is a newer one.
	RehashPassword(ctx context.Context, id backstay.UserID, version int, hash string) error
}

// TokenStore keeps refresh tokens, and which access tokens are revoked.
type TokenStore interface {
	// AddRefreshToken is NotFound if the user is gone or has another password by now.
	AddRefreshToken(ctx context.Context, t RefreshToken) error
	// UserOfRefreshToken is NotFound for a token that is unknown, revoked, or expired by now.
	UserOfRefreshToken(ctx context.Context, hash []byte, now time.Time) (User, error)
	// Revoke makes the user's refresh or access token of that id useless; revoked access tokens are
	// remembered until the given time. Nobody else's token is touched, whatever its id.
	Revoke(ctx context.Context, id backstay.UserID, tokenID string, until time.Time) error
	// Actor is NotFound if the user is gone, has another password than of that version, or has
	// revoked the token. It is on the way of every request of the API.
	Actor(ctx context.Context, id backstay.UserID, version int, tokenID string) (backstay.Actor, error)
	// RemoveExpired forgets the tokens and keys that are expired by now, and failures older than
	// that.
	RemoveExpired(ctx context.Context, now, failures time.Time) error
}

// FailureStore remembers failed logins.
type FailureStore interface {
	// Failures of keys that have none are left out.
	Failures(ctx context.Context, keys []string) ([]Failures, error)
	// AddFailure counts one more under each key; a count whose last is before forgotten starts anew.
	AddFailure(ctx context.Context, keys []string, at, forgotten time.Time, e backstay.Event) error
	Forgive(ctx context.Context, key string) error
}

// KeyStore keeps the keys that access tokens are signed with.
type KeyStore interface {
	// SigningKeys lists them, oldest first.
	SigningKeys(ctx context.Context) ([]SealedKey, error)
	// AddSigningKey keeps k unless its number is in use: of several that make the next key at once,
	// one wins.
	AddSigningKey(ctx context.Context, k SealedKey) error
}
