package uaa

import (
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// algorithm is the one that tokens are signed with, and the only one that is believed.
var algorithm = jwt.SigningMethodRS256

// audience is whom tokens are for: the API, under Cloud Foundry's name.
const audience = "cloud_controller"

// claims are what an access token says. The cf command needs user_name, user_id and origin
// together, exp, and for logging out jti and revocable.
type claims struct {
	jwt.RegisteredClaims
	UserID          backstay.UserID `json:"user_id"`
	Username        string          `json:"user_name"`
	Email           string          `json:"email"`
	Origin          string          `json:"origin"`
	ClientID        string          `json:"client_id"`
	ClientIDAgain   string          `json:"cid"`
	AuthorizedParty string          `json:"azp"`
	GrantType       string          `json:"grant_type"`
	Scope           []string        `json:"scope"`
	Zone            string          `json:"zid"`
	Revocable       bool            `json:"revocable"`
	PasswordVersion int             `json:"rev_sig"` // UAA's name for what makes older tokens void
}

func (s *Server) newClaims(u User, grant string) claims {
	now := s.now()
	return claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: uuid.NewString(), Subject: string(u.ID), Issuer: s.issuer(), Audience: jwt.ClaimStrings{audience, client, "openid"},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.accessLifetime())),
		},
		UserID: u.ID, Username: u.Username, Email: u.Username, Origin: origin,
		ClientID: client, ClientIDAgain: client, AuthorizedParty: client, GrantType: grant,
		Scope: scopes(u), Zone: zone, Revocable: true, PasswordVersion: u.PasswordVersion,
	}
}

// issuer is UAA's: the address of the endpoint that tokens come from.
func (s *Server) issuer() string { return s.Issuer + "/oauth/token" }

// scopes tell a client what to show; what is allowed, nobody reads from them.
func scopes(u User) []string {
	all := []string{"openid", "uaa.user", "cloud_controller.read", "cloud_controller.write"}
	if u.Role == backstay.Administrator {
		all = append(all, "cloud_controller.admin")
	}
	return all
}
