package uaa

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/guess"
	"github.com/backstay/backstay/internal/sender"
)

const (
	client = "cf"  // the one client that acts for users
	origin = "uaa" // the one identity provider
	zone   = "uaa"
	// refreshLifetime is counted from the login: a refresh token is not replaced when it is used,
	// because two cf commands may use it at once.
	refreshLifetime = 30 * 24 * time.Hour
	// clientLifetime is of a client's access tokens, unless those of users live longer.
	clientLifetime = time.Hour
	// maxBody is the size of the largest request body that is read, in bytes.
	maxBody = 16 << 10
)

var (
	errInvalidClient = &uaaError{
		status: http.StatusUnauthorized, Code: "invalid_client",
		Description: "The client is unknown, or its secret is wrong: " +
			"the only client that acts for users is cf, with an empty secret.",
	}
	errUnsupportedGrant = &uaaError{
		status: http.StatusBadRequest, Code: "unsupported_grant_type",
		Description: "The grant type must be password, refresh_token or client_credentials.",
	}
	errTooLarge = &uaaError{
		status: http.StatusRequestEntityTooLarge, Code: "invalid_request",
		Description: fmt.Sprintf("The request must not be larger than %v.", backstay.Bytes(maxBody)),
	}
	errNoForm = &uaaError{
		status: http.StatusBadRequest, Code: "invalid_request",
		Description: "The request must be a form (application/x-www-form-urlencoded).",
	}
	errNoGrant = &uaaError{
		status: http.StatusBadRequest, Code: "invalid_request", Description: "Missing grant type",
	}
	errOrigin = &uaaError{
		status: http.StatusUnauthorized, Code: "unauthorized",
		Description: "The origin provided in the login_hint does not match an active identity provider: " +
			"the only origin is uaa.",
	}
	// errPasscode is for every passcode: none is given out here.
	errPasscode = &uaaError{
		status: http.StatusUnauthorized, Code: "unauthorized", Description: "Invalid passcode",
	}
	errRefreshToken = &uaaError{
		status: http.StatusUnauthorized, Code: "invalid_token",
		Description: "The refresh token expired, was revoked, or is not one of ours.",
	}
)

// grantToken answers POST /oauth/token.
func (s *Server) grantToken(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return explain(err, errNoForm)
	}
	var answer tokenAnswer
	var err error
	switch grant := r.PostForm.Get("grant_type"); grant {
	case "client_credentials":
		answer, err = s.grantForClient(r)
	case "password":
		answer, err = s.grantForPassword(r)
	case "refresh_token":
		answer, err = s.grantForRefreshToken(r)
	case "":
		err = errNoGrant
	default:
		err = errUnsupportedGrant
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// checkClient refuses all but the cf command.
func checkClient(r *http.Request) error {
	if id, secret, ok := r.BasicAuth(); !ok || id != client || secret != "" {
		return errInvalidClient
	}
	return nil
}

func (s *Server) grantForPassword(r *http.Request) (tokenAnswer, error) {
	if err := checkClient(r); err != nil {
		return tokenAnswer{}, err
	}
	if err := checkLoginHint(r.URL.Query().Get("login_hint")); err != nil {
		return tokenAnswer{}, err
	}
	if r.PostForm.Has("passcode") {
		return tokenAnswer{}, errPasscode
	}
	ctx := r.Context()
	user, err := s.logIn(ctx, r.PostForm.Get("username"), r.PostForm.Get("password"), sender.Address(r))
	if err != nil {
		return tokenAnswer{}, err
	}
	if err := s.removeExpired(ctx); err != nil {
		return tokenAnswer{}, err
	}
	refresh, err := s.addRefreshToken(ctx, user)
	if err != nil {
		return tokenAnswer{}, err
	}
	return s.issue(ctx, user, refresh, "password")
}

func (s *Server) removeExpired(ctx context.Context) error {
	now := s.now()
	return s.Store.RemoveExpired(ctx, now, now.Add(-guess.ForgottenAfter))
}

// checkLoginHint refuses an identity provider that is not here.
func checkLoginHint(hint string) error {
	if hint == "" {
		return nil
	}
	var h struct {
		Origin string `json:"origin"`
	}
	if json.Unmarshal([]byte(hint), &h) != nil || h.Origin != origin {
		return errOrigin
	}
	return nil
}

func (s *Server) grantForRefreshToken(r *http.Request) (tokenAnswer, error) {
	if err := checkClient(r); err != nil {
		return tokenAnswer{}, err
	}
	refresh := backstay.Secret(r.PostForm.Get("refresh_token"))
	user, err := s.Store.UserOfRefreshToken(r.Context(), refreshHash(refresh), s.now())
	if backstay.KindOf(err) == backstay.NotFound {
		return tokenAnswer{}, errRefreshToken
	}
	if err != nil {
		return tokenAnswer{}, err
	}
	return s.issue(r.Context(), user, refresh, "refresh_token")
}

func (s *Server) addRefreshToken(ctx context.Context, u User) (backstay.Secret, error) {
	id, expires := uuid.NewString(), s.now().Add(refreshLifetime)
	token := newRefreshToken(id, expires)
	err := s.Store.AddRefreshToken(ctx, RefreshToken{
		ID: id, UserID: u.ID, PasswordVersion: u.PasswordVersion, Hash: refreshHash(token), ExpiresAt: expires,
	})
	if backstay.KindOf(err) == backstay.NotFound { // a new password came in between
		return "", errBadCredentials
	}
	return token, err
}

// newRefreshToken returns a token with the three parts of a JWT, because on logging out the cf
// command looks for the jti to revoke in the second. It is none: the third part is no signature but
// what makes the token hard to guess, so no key is needed to check it and none can forge it.
func newRefreshToken(id string, expires time.Time) backstay.Secret {
	encode := base64.RawURLEncoding.EncodeToString
	payload := fmt.Sprintf(`{"jti":%q,"exp":%d}`, id, expires.Unix())
	return backstay.Secret(encode([]byte(`{"typ":"refresh"}`)) + "." + encode([]byte(payload)) + "." + rand.Text())
}

func refreshHash(token backstay.Secret) []byte {
	h := sha256.Sum256([]byte(token.Reveal()))
	return h[:]
}

// tokenAnswer is the successful answer of RFC 6749, section 5.1. Its token_type is stored and sent
// back by the cf command as it is written here.
type tokenAnswer struct {
	AccessToken  string          `json:"access_token"`
	TokenType    string          `json:"token_type"`
	RefreshToken backstay.Secret `json:"refresh_token,omitempty"`
	ExpiresIn    int             `json:"expires_in"` // seconds
	Scope        string          `json:"scope"`
	ID           string          `json:"jti"`
}

// issue signs an access token.
func (s *Server) issue(ctx context.Context, u User, refresh backstay.Secret, grant string) (tokenAnswer, error) {
	key, err := s.signer(ctx)
	if err != nil {
		return tokenAnswer{}, err
	}
	c := s.newClaims(u, grant)
	token := jwt.NewWithClaims(algorithm, c)
	token.Header["kid"] = key.id()
	signed, err := token.SignedString(key.private)
	if err != nil {
		return tokenAnswer{}, fmt.Errorf("sign token: %w", err)
	}
	return tokenAnswer{
		AccessToken: signed, TokenType: "bearer", RefreshToken: refresh,
		ExpiresIn: int(s.lifetime(u).Seconds()), Scope: strings.Join(c.Scope, " "), ID: c.ID,
	}, nil
}
