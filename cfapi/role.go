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
		Metadata:         metadataOf(u.Metadata),
		Links:            links{"self": s.at("/v3/users/%s", u.ID)},
	}
	if u.Username != "" {
		resource.Username, resource.Origin = &u.Username, &u.Origin
	}
	return resource
}

func (s *Server) listUsers(w http.ResponseWriter, r *request) error {
	return s.writeUsers(w, r, userFilter(r))
}

func (s *Server) listOrganizationUsers(w http.ResponseWriter, r *request) error {
	o, err := s.Market.Organization(r.Context(), r.by, organizationID(r))
	if err != nil {
		return err
	}
	f := userFilter(r)
	f.OrganizationIDs = []backstay.OrganizationID{o.ID}
	return s.writeUsers(w, r, f)
}

func (s *Server) listSpaceUsers(w http.ResponseWriter, r *request) error {
	sp, err := s.Market.Space(r.Context(), r.by, spaceID(r))
	if err != nil {
		return err
	}
	f := userFilter(r)
	f.SpaceIDs = []backstay.SpaceID{sp.ID}
	return s.writeUsers(w, r, f)
}

func userFilter(r *request) market.UserFilter {
	return market.UserFilter{
		IDs:              ids[backstay.UserID](r.query, "guids"),
		Usernames:        r.list("usernames"),
		PartialUsernames: r.list("partial_usernames"),
		Origins:          r.list("origins"),
		Match:            r.match,
		Order:            r.order,
		Page:             r.page,
	}
}

func (s *Server) writeUsers(w http.ResponseWriter, r *request, f market.UserFilter) error {
	l, err := s.Market.Users(r.Context(), r.by, f)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.user, nil)
}

func (s *Server) showUser(w http.ResponseWriter, r *request) error {
	u, err := s.Market.User(r.Context(), r.by, backstay.UserID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.user(u))
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
	Included      *included         `json:"included,omitempty"`
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
		Match:           r.match,
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

func (s *Server) showRole(w http.ResponseWriter, r *request) error {
	ro, err := s.Market.Role(r.Context(), r.by, backstay.RoleID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	res := s.role(ro)
	if res.Included, err = s.includeInRoles(r, []backstay.Role{ro}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, res)
}

func (s *Server) includeInRoles(r *request, roles []backstay.Role) (*included, error) {
	if !r.values.Has("include") {
		return nil, nil
	}
	with := &included{}
	if r.includes("user") {
		l, err := s.Market.Users(r.Context(), r.by, market.UserFilter{
			IDs: distinct(roles, func(ro backstay.Role) backstay.UserID { return ro.UserID }),
		})
		if err != nil {
			return nil, err
		}
		with.Users = convert(l.Items, s.user)
	}
	if r.includes("organization") {
		l, err := s.Market.Organizations(r.Context(), r.by, market.OrganizationFilter{
			IDs: distinct(roles, func(ro backstay.Role) backstay.OrganizationID { return ro.OrganizationID }),
		})
		if err != nil {
			return nil, err
		}
		with.Organizations = convert(l.Items, mixed(s.organization))
	}
	if r.includes("space") {
		l, err := s.Market.Spaces(r.Context(), r.by, market.SpaceFilter{
			IDs: distinct(roles, func(ro backstay.Role) backstay.SpaceID { return ro.SpaceID }),
		})
		if err != nil {
			return nil, err
		}
		with.Spaces = convert(l.Items, mixed(s.space))
	}
	return with, nil
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
	if origin := b.Relationships.User.Data.Origin; origin != nil {
		n.Origin = *origin
	}
	if n.UserID == "" && n.Username == "" {
		return n, backstay.Errorf(backstay.Invalid,
			`Relationships 'user' must be structured like this: "user": {"data": {"guid": "valid-guid"}}`)
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
