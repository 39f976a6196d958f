package uaa

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// The two ways not to be known, in Cloud Foundry's sentences.
var (
	errNoToken      = backstay.Errorf(backstay.Anonymous, "Authentication error")
	errInvalidToken = backstay.Errorf(backstay.Anonymous, "Invalid Auth Token")
)

// Authenticate returns whose access token an Authorization header carries. Its errors are Anonymous,
// with the sentence "Authentication error" if there is no token and "Invalid Auth Token" if it
// proves nothing.
//
// It costs a signature's check (no key is loaded that is known) and one query by primary keys. That
// query could be saved by remembering its answer for some seconds; then a revoked token, a deleted
// user's and an old password's would live on for as long.
func (s *Server) Authenticate(ctx context.Context, authorization string) (backstay.Actor, error) {
	if strings.TrimSpace(authorization) == "" {
		return backstay.Actor{}, errNoToken
	}
	token, ok := bearer(authorization)
	if !ok {
		return backstay.Actor{}, errInvalidToken
	}
	c, err := s.verify(ctx, token)
	if err != nil {
		return backstay.Actor{}, err
	}
	by, err := s.Store.Actor(ctx, c.account(), c.PasswordVersion, c.ID)
	if backstay.KindOf(err) == backstay.NotFound {
		return by, errInvalidToken
	}
	if err != nil {
		return by, fmt.Errorf("authenticate: %w", err)
	}
	return by, nil
}

// maxToken is several times the length of ours.
const maxToken = 8 << 10

// bearer returns the token of an Authorization header (RFC 6750, section 2.1; the scheme in any case).
func bearer(authorization string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	token = strings.TrimLeft(token, " ")
	return token, strings.EqualFold(scheme, "bearer") && token != "" && len(token) <= maxToken
}

// verify returns what a token says, if we have signed it and it is not too old.
func (s *Server) verify(ctx context.Context, token string) (claims, error) {
	var c claims
	var failure error // ours, not the token's
	find := func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		k, ok, err := s.verifier(ctx, id)
		if failure = err; err != nil {
			return nil, err
		}
		if !ok {
			return nil, errInvalidToken
		}
		return &k.private.PublicKey, nil
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{algorithm.Alg()}), jwt.WithIssuer(s.issuer()),
		jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now), jwt.WithStrictDecoding())
	_, err := parser.ParseWithClaims(token, &c, find)
	if failure != nil {
		return c, fmt.Errorf("authenticate: %w", failure)
	}
	if err != nil {
		return c, errInvalidToken
	}
	return c, nil
}

// revokeToken answers DELETE /oauth/token/revoke/{jti}. The cf command asks for it with its access
// token, first for the refresh token, then for the access token itself.
func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	by, err := s.Authenticate(r.Context(), r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	id, err := uuid.Parse(r.PathValue("jti"))
	if err != nil {
		return errUnknownRequest // no id of ours
	}
	if err := s.Store.Revoke(r.Context(), by.UserID, id.String(), s.now().Add(s.longestLifetime())); err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}
