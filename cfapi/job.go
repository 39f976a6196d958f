package cfapi

import (
	"cmp"
	"net/http"
	"regexp"

	"github.com/backstay/backstay"
)

type jobResource struct {
	identity
	Operation string            `json:"operation"`
	State     backstay.JobState `json:"state"`
	Errors    []errorResource   `json:"errors"`
	Warnings  []warningResource `json:"warnings"`
	Links     links             `json:"links"`
}

type warningResource struct {
	Detail string `json:"detail"`
}

// readsCatalog are the operations whose jobs ask a broker what it offers.
var readsCatalog = map[string]bool{"service_broker.catalog.synchronize": true, "service_broker.update": true}

// jobError is why a job failed, as Cloud Controller says it of jobs.
func jobError(j backstay.Job) errorResource {
	if readsCatalog[j.Operation] && j.Kind == backstay.Invalid {
		return errorResource{270012, "CF-ServiceBrokerCatalogInvalid", j.Sentence}
	}
	return errorResource{10009, "CF-UnableToPerform", j.Sentence}
}

// job shows why a failed job failed, in one error; without any the cf command crashes.
func (s *Server) job(j backstay.Job) jobResource {
	res := jobResource{
		identity:  identify(j.ID, j.CreatedAt, j.UpdatedAt),
		Operation: j.Operation,
		State:     j.State,
		Errors:    []errorResource{},
		Warnings:  []warningResource{},
		Links:     links{"self": s.at("/v3/jobs/%s", j.ID)},
	}
	if j.State == backstay.JobFailed {
		res.Errors = append(res.Errors, jobError(j))
	}
	for _, warning := range j.Warnings {
		res.Warnings = append(res.Warnings, warningResource{warning})
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

// accepted answers that a job was accepted, and where to ask for it. The cf command takes any
// Location for a job's, so there is none on other answers; and it must be absolute.
func (s *Server) accepted(w http.ResponseWriter, j backstay.Job) error {
	w.Header().Set("Location", s.at("/v3/jobs/%s", j.ID).Href)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// acceptedSoon is accepted for work that is usually done in a moment: the cf command asks for the
// job at once, and again only three seconds later.
func (s *Server) acceptedSoon(w http.ResponseWriter, r *request, j backstay.Job) error {
	if _, err := s.await(r, j); err != nil {
		return err
	}
	return s.accepted(w, j)
}

// await tells whether the job was done within the time that an answer may be held back. If it
// failed, the client hears of it from the job. What needed no job is done.
func (s *Server) await(r *request, j backstay.Job) (done bool, err error) {
	if j.ID == "" {
		return true, nil
	}
	j, err = s.Market.AwaitJob(r.Context(), j.ID, cmp.Or(s.JobWait, DefaultJobWait))
	return j.State == backstay.JobComplete, err
}

// cfCommand is how the cf command calls itself, whatever its file is called: cf, cf8, cf.exe.
var cfCommand = regexp.MustCompile(`^cf[0-9]*(\.exe)?/`)

// settle answers a request whose work is job j: by done if the work was done while the answer was held back and the
// client is the cf command, else with the job. The cf command bears an answer without a job and, given one,
// sleeps three seconds after each look at it; other clients know no answer but the job (RFC 9110, section 10.1.5, has
// User-Agent for such limits).
func (s *Server) settle(w http.ResponseWriter, r *request, j backstay.Job, done func() error) error {
	if j.ID != "" && !cfCommand.MatchString(r.UserAgent()) {
		return s.accepted(w, j)
	}
	finished, err := s.await(r, j)
	switch {
	case err != nil:
		return err
	case finished:
		return done()
	}
	return s.accepted(w, j)
}
