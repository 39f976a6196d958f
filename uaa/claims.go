package uaa

import (
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// algorithm is the one that tokens are signed with, and the only one that is believed.
var algorithm = jwt.SigningMethodRS256

// audience is whom tokens are for: the API, under Cloud Foundry's name.
const audience = "cloud_controller"

// claims are what an access token says. The cf command needs user_name, user_id and origin
// together, or of a client client_id without them; exp, and for logging out jti and revocable.
type claims struct {
	jwt.RegisteredClaims
	UserID          backstay.UserID `json:"user_id,omitempty"`
	Username        string          `json:"user_name,omitempty"`
	Email           string          `json:"email,omitempty"`
	Origin          string          `json:"origin,omitempty"`
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
	now, by := s.now(), client
	if u.Client {
		by = string(u.ID)
	}
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: uuid.NewString(), Subject: string(u.ID), Issuer: s.issuer(), Audience: jwt.ClaimStrings{audience, by, "openid"},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.lifetime(u))),
		},
		ClientID: by, ClientIDAgain: by, AuthorizedParty: by, GrantType: grant,
		Scope: scopes(u), Zone: zone, Revocable: true, PasswordVersion: u.PasswordVersion,
	}
	if !u.Client {
		c.UserID, c.Username, c.Email, c.Origin = u.ID, u.Username, u.address(), origin
	}
	return c
}

// account is whose token it is.
func (c claims) account() backstay.UserID {
	if c.UserID == "" {
		return backstay.UserID(c.ClientID)
	}
	return c.UserID
}

// lifetime is how long an access token lives. The cf command forgets a client's secret and so cannot
// ask for the next token by itself: a client has one for long enough to do its work.
func (s *Server) lifetime(u User) time.Duration {
	if u.Client {
		return s.longestLifetime()
	}
	return s.accessLifetime()
}

func (s *Server) longestLifetime() time.Duration { return max(clientLifetime, s.accessLifetime()) }

// issuer is UAA's: the address of the endpoint that tokens come from.
func (s *Server) issuer() string { return s.Issuer + "/oauth/token" }

// scopes tell a client what to show; what is allowed, nobody reads from them.
func scopes(u User) []string {
	all := []string{"openid", "uaa.user", "cloud_controller.read", "cloud_controller.write"}
	if u.Client {
		all = []string{"uaa.resource", "cloud_controller.read", "cloud_controller.write"}
	}
	if u.Role != "" {
		all = append(all, "cloud_controller."+string(u.Role), "scim.read")
	}
	if u.Role == backstay.Administrator {
		all = append(all, "scim.write", "clients.read")
	}
	return all
}
