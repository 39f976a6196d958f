package cfapi

import (
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type userResource struct {
	identity
	Username         *string  `json:"username"` // null for a client
	PresentationName string   `json:"presentation_name"`
	Origin           *string  `json:"origin"`
	Metadata         metadata `json:"metadata"`
	Links            links    `json:"links"`
}

func (s *Server) user(u backstay.User) userResource {
	resource := userResource{
		identity:         identify(u.ID, u.CreatedAt, u.UpdatedAt),
		PresentationName: u.PresentationName(),
		Links:            links{"self": s.at("/v3/users/%s", u.ID)},
	}
	if u.Username != "" {
		resource.Username, resource.Origin = &u.Username, &u.Origin
	}
	return resource
}

func (s *Server) listUsers(w http.ResponseWriter, r *request) error {
	l, err := s.Market.Users(r.Context(), r.by, market.UserFilter{
		IDs:       ids[backstay.UserID](r.query, "guids"),
		Usernames: r.list("usernames"),
		Origins:   r.list("origins"),
		Order:     r.order,
		Page:      r.page,
	})
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.user, nil)
}

func (s *Server) showUser(w http.ResponseWriter, r *request) error {
	id := backstay.UserID(r.PathValue("guid"))
	l, err := s.Market.Users(r.Context(), r.by, market.UserFilter{IDs: []backstay.UserID{id}})
	if err != nil {
		return err
	}
	if len(l.Items) == 0 {
		return backstay.Errorf(backstay.NotFound, "User not found")
	}
	return writeJSON(w, http.StatusOK, s.user(l.Items[0]))
}

type newUserBody struct {
	GUID backstay.UserID `json:"guid"`
}

func (s *Server) createUser(w http.ResponseWriter, r *request) error {
	var body newUserBody
	if err := decode(r, &body); err != nil {
		return err
	}
	u, err := s.Market.RegisterUser(r.Context(), r.by, body.GUID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, s.user(u))
}

func (s *Server) deleteUser(w http.ResponseWriter, r *request) error {
	j, err := s.Market.DeleteUser(r.Context(), r.by, backstay.UserID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	return s.accepted(w, j)
}

type roleResource struct {
	identity
	Type          string            `json:"type"`
	Relationships roleRelationships `json:"relationships"`
	Links         links             `json:"links"`
}

type roleRelationships struct {
	User         toOne `json:"user"`
	Organization toOne `json:"organization"`
	Space        toOne `json:"space"`
}

func (s *Server) role(ro backstay.Role) roleResource {
	all := links{
		"self": s.at("/v3/roles/%s", ro.ID),
		"user": s.at("/v3/users/%s", ro.UserID),
	}
	if ro.SpaceID != "" {
		all["space"] = s.at("/v3/spaces/%s", ro.SpaceID)
	} else {
		all["organization"] = s.at("/v3/organizations/%s", ro.OrganizationID)
	}
	return roleResource{
		identity:      identify(ro.ID, ro.CreatedAt, ro.UpdatedAt),
		Type:          ro.Type,
		Relationships: roleRelationships{related(ro.UserID), related(ro.OrganizationID), related(ro.SpaceID)},
		Links:         all,
	}
}

func (s *Server) listRoles(w http.ResponseWriter, r *request) error {
	l, err := s.Market.Roles(r.Context(), r.by, market.RoleFilter{
		IDs:             ids[backstay.RoleID](r.query, "guids"),
		Types:           r.list("types"),
		UserIDs:         ids[backstay.UserID](r.query, "user_guids"),
		OrganizationIDs: ids[backstay.OrganizationID](r.query, "organization_guids"),
		SpaceIDs:        ids[backstay.SpaceID](r.query, "space_guids"),
		Order:           r.order,
		Page:            r.page,
	})
	if err != nil {
		return err
	}
	with, err := s.includeInRoles(r, l.Items)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.role, with)
}

func (s *Server) includeInRoles(r *request, roles []backstay.Role) (*included, error) {
	if !r.includes("user") {
		return nil, nil
	}
	l, err := s.Market.Users(r.Context(), r.by, market.UserFilter{
		IDs: distinct(roles, func(ro backstay.Role) backstay.UserID { return ro.UserID }),
	})
	return &included{Users: convert(l.Items, s.user)}, err
}

// newRoleBody names its user by guid, or by username as the cf command does.
type newRoleBody struct {
	Type          string `json:"type"`
	Relationships struct {
		User struct {
			Data struct {
				GUID     backstay.UserID `json:"guid"`
				Username string          `json:"username"`
				Origin   *string         `json:"origin"`
			} `json:"data"`
		} `json:"user"`
		Organization toOne `json:"organization"`
		Space        toOne `json:"space"`
	} `json:"relationships"`
}

func (s *Server) createRole(w http.ResponseWriter, r *request) error {
	var body newRoleBody
	if err := decode(r, &body); err != nil {
		return err
	}
	n, err := body.role()
	if err != nil {
		return err
	}
	ro, err := s.Market.CreateRole(r.Context(), r.by, n)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, s.role(ro))
}

func (b newRoleBody) role() (n market.NewRole, err error) {
	n = market.NewRole{Type: b.Type, UserID: b.Relationships.User.Data.GUID, Username: b.Relationships.User.Data.Username}
	if err := only("Origin", b.Relationships.User.Data.Origin, "uaa"); err != nil {
		return n, err
	}
	if n.UserID == "" && n.Username == "" {
		return n, backstay.Errorf(backstay.Invalid, `Relationships 'user' must be structured like this: "user": {"data": {"guid": "valid-guid"}}`)
	}
	if b.Relationships.Organization.Data != nil {
		n.OrganizationID = backstay.OrganizationID(b.Relationships.Organization.Data.GUID)
	}
	if b.Relationships.Space.Data != nil {
		n.SpaceID = backstay.SpaceID(b.Relationships.Space.Data.GUID)
	}
	return n, nil
}

func (s *Server) deleteRole(w http.ResponseWriter, r *request) error {
	j, err := s.Market.DeleteRole(r.Context(), r.by, backstay.RoleID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	return s.acceptedSoon(w, r, j)
}
