package cfapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// recordRefusal leaves a trace of a change that somebody who is known may not make, or not so. Where the
// change would be recorded with it, a refusal has no transaction to belong to.
//
// That there is something of that name already is no refusal: the cf command asks again and again for
// what there is, each create-space twice for one role, and takes the answer for success.
func (s *Server) recordRefusal(r *request, err error) {
	said := translate(err)
	if r.Method == http.MethodGet || r.by.UserID == "" || said == errUnknownRequest ||
		said.status >= http.StatusInternalServerError || backstay.KindOf(err) == backstay.Taken {
		return
	}
	refusal := market.Refusal{
		Method: r.Method, Path: r.URL.Path, Named: r.named(), Title: said.Title, Reason: said.Detail,
	}
	if words := strings.Split(r.URL.Path, "/"); len(words) > 2 {
		refusal.Kind = strings.TrimSuffix(words[2], "s") // /v3/apps/…: an app
	}
	if r.quotes(said.Detail) {
		refusal.Reason = ""
	}
	if err := s.Market.RecordRefusal(r.Context(), r.by, refusal); err != nil {
		s.Log.Warn("a refusal was not recorded", "path", r.URL.Path, "error", err)
	}
}

// named are the guids of what a request is about, the most telling first: what its path names, else what
// the new thing is to belong to.
func (r *request) named() (guids []string) {
	if guid := r.PathValue("guid"); guid != "" {
		return []string{guid}
	}
	var body struct{ Relationships map[string]json.RawMessage }
	if json.Unmarshal(r.body, &body) != nil {
		return nil
	}
	for _, name := range []string{"service_instance", "app", "space", "organization"} {
		var to toOne
		if raw, ok := body.Relationships[name]; ok && json.Unmarshal(raw, &to) == nil && to.Data != nil &&
			to.Data.GUID != "" &&
			isText(to.Data.GUID) {
			guids = append(guids, to.Data.GUID)
		}
	}
	return guids
}

// quotes tells whether a sentence repeats a text of the request's body that may be secret: one in
// anything but a name, a type or a relationship.
func (r *request) quotes(sentence string) bool {
	var body map[string]any
	if json.Unmarshal(r.body, &body) != nil {
		return false // of what is no JSON, the sentence has a character at most
	}
	delete(body, "name")
	delete(body, "type")
	delete(body, "relationships")
	for _, value := range body {
		if repeats(sentence, value) {
			return true
		}
	}
	return false
}

func repeats(sentence string, value any) bool {
	switch value := value.(type) {
	case string:
		return value != "" &&
			(strings.Contains(sentence, value) || strings.Contains(sentence, strings.Trim(strconv.Quote(value), `"`)))
	case []any:
		for _, v := range value {
			if repeats(sentence, v) {
				return true
			}
		}
	case map[string]any:
		for name, v := range value {
			if repeats(sentence, name) || repeats(sentence, v) {
				return true
			}
		}
	}
	return false
}
