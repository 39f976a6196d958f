package cfapi

import (
	"net/http"

	"github.com/backstay/backstay"
)

type jobResource struct {
	identity
	Operation string            `json:"operation"`
	State     backstay.JobState `json:"state"`
	Errors    []errorResource   `json:"errors"`
	Warnings  []struct{}        `json:"warnings"`
	Links     links             `json:"links"`
}

// job shows why a failed job failed, in one error; without any the cf command crashes.
func (s *Server) job(j backstay.Job) jobResource {
	res := jobResource{
		identity:  identify(j.ID, j.CreatedAt, j.UpdatedAt),
		Operation: j.Operation,
		State:     j.State,
		Errors:    []errorResource{},
		Warnings:  []struct{}{},
		Links:     links{"self": s.at("/v3/jobs/%s", j.ID)},
	}
	if j.State == backstay.JobFailed {
		res.Errors = append(res.Errors, errorResource{10009, "CF-UnableToPerform", j.Sentence})
	}
	return res
}

func (s *Server) showJob(w http.ResponseWriter, r *request) error {
	j, err := s.Market.Job(r.Context(), r.by, backstay.JobID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.job(j))
}
