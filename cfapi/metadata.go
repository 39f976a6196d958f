package cfapi

import (
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// metadata are labels and annotations. Clients expect the objects even if nothing is in them.
type metadata struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func metadataOf(m backstay.Metadata) metadata {
	res := metadata{map[string]string{}, map[string]string{}}
	if m.Labels != nil {
		res.Labels = m.Labels
	}
	if m.Annotations != nil {
		res.Annotations = m.Annotations
	}
	return res
}

// metadataBody is a change of metadata: null removes a key.
type metadataBody struct {
	Labels      map[string]*string `json:"labels"`
	Annotations map[string]*string `json:"annotations"`
}

// decodeUpdate reads the body of a request that gives another name or other metadata.
func decodeUpdate(r *request) (market.Update, error) {
	var body struct {
		Name     *string      `json:"name"`
		Metadata metadataBody `json:"metadata"`
	}
	err := decode(r, &body)
	return market.Update{Name: body.Name, Metadata: backstay.MetadataUpdate(body.Metadata)}, err
}

// decodeMetadata reads the body of a request that can do no more than change metadata.
func decodeMetadata(r *request) (backstay.MetadataUpdate, error) {
	var body struct {
		Metadata metadataBody `json:"metadata"`
	}
	err := decode(r, &body)
	return backstay.MetadataUpdate(body.Metadata), err
}

func (s *Server) updateBinding(w http.ResponseWriter, r *request) error {
	u, err := decodeMetadata(r)
	if err != nil {
		return err
	}
	b, err := s.Market.UpdateBindingMetadata(r.Context(), r.by, bindingID(r), u)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.binding(b))
}

func (s *Server) updateOffering(w http.ResponseWriter, r *request) error {
	u, err := decodeMetadata(r)
	if err != nil {
		return err
	}
	o, err := s.Market.UpdateOfferingMetadata(r.Context(), r.by, backstay.OfferingID(r.PathValue("guid")), u)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.offering(o))
}

func (s *Server) updatePlan(w http.ResponseWriter, r *request) error {
	u, err := decodeMetadata(r)
	if err != nil {
		return err
	}
	p, err := s.Market.UpdatePlanMetadata(r.Context(), r.by, backstay.PlanID(r.PathValue("guid")), u)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.plan(p))
}

func (s *Server) updateUser(w http.ResponseWriter, r *request) error {
	u, err := decodeMetadata(r)
	if err != nil {
		return err
	}
	user, err := s.Market.UpdateUserMetadata(r.Context(), r.by, backstay.UserID(r.PathValue("guid")), u)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.user(user))
}
