package cfapi

import (
	"cmp"
	"log/slog"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type brokerResource struct {
	identity
	Name          string              `json:"name"`
	URL           string              `json:"url"`
	Relationships brokerRelationships `json:"relationships"`
	Metadata      metadata            `json:"metadata"`
	Links         links               `json:"links"`
}

// brokerRelationships are empty but for a broker that is a space's own.
type brokerRelationships struct {
	Space *toOne `json:"space,omitempty"`
}

// broker shows a broker that nobody has registered at our own address.
func (s *Server) broker(b backstay.ServiceBroker) brokerResource {
	res := brokerResource{
		identity: identify(b.ID, b.CreatedAt, b.UpdatedAt),
		Name:     b.Name,
		URL:      cmp.Or(b.URL, s.URL),
		Metadata: metadataOf(b.Metadata),
		Links: links{
			"self":              s.at("/v3/service_brokers/%s", b.ID),
			"service_offerings": s.at("/v3/service_offerings?service_broker_guids=%s", b.ID),
		},
	}
	if b.SpaceID != "" {
		to := related(b.SpaceID)
		res.Relationships.Space = &to
		res.Links["space"] = s.at("/v3/spaces/%s", b.SpaceID)
	}
	return res
}

func (s *Server) listBrokers(w http.ResponseWriter, r *request) error {
	l, err := s.Market.ServiceBrokers(r.Context(), r.by, market.BrokerFilter{
		IDs: ids[backstay.BrokerID](r.query, "guids"), Names: r.list("names"),
		SpaceIDs: ids[backstay.SpaceID](r.query, "space_guids"), Match: r.match, Order: r.order, Page: r.page,
	})
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.broker, nil)
}

func brokerID(r *request) backstay.BrokerID { return backstay.BrokerID(r.PathValue("guid")) }

func (s *Server) showBroker(w http.ResponseWriter, r *request) error {
	b, err := s.Market.ServiceBroker(r.Context(), r.by, brokerID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.broker(b))
}

// authenticationBody is how a broker is to be logged in to. Basic authentication is the only way there is.
type authenticationBody struct {
	Type        string `json:"type"`
	Credentials struct {
		Username string          `json:"username"`
		Password backstay.Secret `json:"password"`
	} `json:"credentials"`
}

// LogValue is the body, redacted.
func (a authenticationBody) LogValue() slog.Value { return backstay.RedactedValue(a) }

func (a *authenticationBody) login() (backstay.BrokerLogin, error) {
	if a == nil {
		return backstay.BrokerLogin{}, backstay.Errorf(backstay.Invalid, "Authentication must be a hash")
	}
	if a.Type != "basic" {
		return backstay.BrokerLogin{}, backstay.Errorf(backstay.Invalid,
			`Authentication authentication.type must be one of ["basic"]`)
	}
	return backstay.BrokerLogin{Username: a.Credentials.Username, Password: a.Credentials.Password}, nil
}

func (s *Server) createBroker(w http.ResponseWriter, r *request) error {
	var body struct {
		Name           string              `json:"name"`
		URL            string              `json:"url"`
		Authentication *authenticationBody `json:"authentication"`
		Relationships  struct {
			Space *toOne `json:"space"`
		} `json:"relationships"`
		Metadata metadataBody `json:"metadata"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	n := market.NewBroker{Name: body.Name, URL: body.URL, Metadata: backstay.MetadataUpdate(body.Metadata)}
	var err error
	if n.Login, err = body.Authentication.login(); err != nil {
		return err
	}
	if space := body.Relationships.Space; space != nil {
		if n.SpaceID, err = required[backstay.SpaceID](*space, "space"); err != nil {
			return err
		}
	}
	j, err := s.Market.CreateBroker(r.Context(), r.by, n)
	if err != nil {
		return err
	}
	return s.acceptedSoon(w, r, j)
}

func (s *Server) updateBroker(w http.ResponseWriter, r *request) error {
	var body struct {
		Name           *string             `json:"name"`
		URL            *string             `json:"url"`
		Authentication *authenticationBody `json:"authentication"`
		Metadata       metadataBody        `json:"metadata"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	u := market.BrokerUpdate{
		Update: market.Update{Name: body.Name, Metadata: backstay.MetadataUpdate(body.Metadata)}, URL: body.URL,
	}
	if body.Authentication != nil {
		login, err := body.Authentication.login()
		if err != nil {
			return err
		}
		u.Login = &login
	}
	b, j, err := s.Market.UpdateBroker(r.Context(), r.by, brokerID(r), u)
	switch {
	case err != nil:
		return err
	case j.ID != "":
		return s.acceptedSoon(w, r, j)
	}
	return writeJSON(w, http.StatusOK, s.broker(b))
}

func (s *Server) deleteBroker(w http.ResponseWriter, r *request) error {
	j, err := s.Market.DeleteBroker(r.Context(), r.by, brokerID(r))
	if err != nil {
		return err
	}
	return s.acceptedSoon(w, r, j)
}

// brokersOf are the brokers of offerings, to be included.
func (s *Server) brokersOf(r *request, offerings []backstay.Offering) ([]brokerResource, error) {
	brokers, err := s.Market.BrokersOf(r.Context(), offerings)
	return convert(brokers, s.broker), err
}
