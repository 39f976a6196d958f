package cfapi

import (
	"net/http"

	"github.com/backstay/backstay/market"
)

// What somebody who sees a resource may do with it, for clients that ask before they do.

func (s *Server) showAppPermissions(w http.ResponseWriter, r *request) error {
	a, err := s.Market.App(r.Context(), r.by, appID(r))
	if err != nil {
		return err
	}
	secrets, err := s.Market.MayInSpace(r.Context(), r.by, a.SpaceID, market.SecretReaders)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]bool{"read_basic_data": true, "read_sensitive_data": secrets})
}

func (s *Server) showInstancePermissions(w http.ResponseWriter, r *request) error {
	in, err := s.Market.Instance(r.Context(), r.by, instanceID(r))
	if err != nil {
		return err
	}
	manage, err := s.Market.MayInSpace(r.Context(), r.by, in.SpaceID, market.SpaceDevelopers)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]bool{"read": true, "manage": manage})
}
