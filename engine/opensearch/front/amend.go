package front

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What OpenSearch has no right for, or grants to all or to nobody, the front sees to: it changes what is asked, so that
// OpenSearch answers the rest, or refuses it. What it does not look at is for the rights to decide.

// refusal is what the front answers in the place of OpenSearch.
type refusal struct {
	status       int
	kind, reason string
}

// usersIndex is where the security plugin keeps users. In answers to what is asked of all indices, or of some that are
// none of the user's, it may be among the others.
const usersIndex = ".opendistro_security"

// amend makes of a request what OpenSearch is to be asked, or says how it is refused.
func amend(r *http.Request) *refusal {
	at := elements(r.URL)
	switch {
	case isBelow(at, "_search", "scroll"):
		return amendContexts(r, at, "scroll_id")
	case isBelow(at, "_search", "point_in_time"):
		return amendContexts(r, at, "pit_id")
	case isBelow(at, "_cluster", "settings"): // of those that nobody has chosen, some say where the node's directories are
		query := r.URL.Query()
		query.Del("include_defaults")
		r.URL.RawQuery = query.Encode()
	case isBelow(at, "_cluster", "state"):
		leaveUsersOut(r, "metadata.indices.", "routing_table.indices.", "blocks.indices.")
	case isBelow(at, "_cluster", "health"):
		leaveUsersOut(r, "indices.")
	case r.Method != http.MethodGet:
		spareUsers(r, at)
	case asks(at, "_stats"):
		leaveUsersOut(r, "indices.")
		leaveOut(r, "**.shard_path")
	case asks(at, "_mapping"), asks(at, "_mappings"), asks(at, "_settings"):
		leaveUsersOut(r, "")
	}
	return nil
}

// elements are those of a path, as OpenSearch reads it.
func elements(u *url.URL) (all []string) {
	for raw := range strings.SplitSeq(u.EscapedPath(), "/") {
		element, err := url.PathUnescape(raw)
		if err == nil && element != "" {
			all = append(all, element)
		}
	}
	return all
}

func isBelow(at []string, first, second string) bool {
	return len(at) > 1 && at[0] == first && at[1] == second
}

// asks tells whether a request asks for that of all indices, or of some.
func asks(at []string, what string) bool { return slices.Contains(at[:min(len(at), 2)], what) }

// leaveOut has the answer come without what is at these paths, whatever else is chosen of it.
func leaveOut(r *http.Request, paths ...string) {
	query := r.URL.Query()
	chosen := query["filter_path"]
	for _, path := range paths {
		chosen = append(chosen, "-"+path)
	}
	query.Set("filter_path", strings.Join(chosen, ","))
	r.URL.RawQuery = query.Encode()
}

// leaveUsersOut has the answer come without what it tells below these paths of the index of users.
func leaveUsersOut(r *http.Request, paths ...string) {
	for _, path := range paths {
		leaveOut(r, path+strings.ReplaceAll(usersIndex, ".", `\.`))
	}
}

// everyContext is what ends, or tells, the searches that all have open: who may search may end them.
const everyContext = "_all"

// contextsLimit is more than all ids take that there may be.
const contextsLimit = 1 << 20

// amendContexts has a request end open searches by their ids alone, in words of our own: what OpenSearch reads is what
// was looked at.
func amendContexts(r *http.Request, at []string, field string) *refusal {
	query := r.URL.Query()
	ids := slices.Concat(at[2:], query[field])
	if r.Method == http.MethodDelete {
		said, err := saidContexts(r, query, field)
		if err != nil {
			return &refusal{http.StatusBadRequest, "parsing_exception",
				"A list of ids is expected, as {\"" + field + "\": [...]}, in JSON."}
		}
		ids = append(ids, said...)
	}
	ids = strings.Split(strings.Join(ids, ","), ",")
	if slices.ContainsFunc(ids, func(id string) bool { return strings.TrimSpace(id) == everyContext }) {
		return &refusal{http.StatusForbidden, "security_exception",
			"Searches are ended by their ids: all of them are those of other bindings, too."}
	}
	if r.Method != http.MethodDelete {
		return nil
	}
	text, err := json.Marshal(map[string][]string{field: slices.DeleteFunc(ids, func(id string) bool { return id == "" })})
	if err != nil {
		return &refusal{http.StatusBadRequest, "parsing_exception", err.Error()}
	}
	for _, name := range []string{field, "source", "source_content_type"} {
		query.Del(name)
	}
	setPath(r, at[:2])
	r.URL.RawQuery = query.Encode()
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(text)), int64(len(text)), nil
	r.Header.Set("Content-Type", "application/json")
	r.Header.Del("Content-Encoding")
	return nil
}

// saidContexts returns the ids in the body of a request, or in what it has in the place of one.
func saidContexts(r *http.Request, query url.Values, field string) ([]string, error) {
	body := io.Reader(r.Body)
	switch r.Header.Get("Content-Encoding") {
	case "":
	case "gzip":
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = unpacked
	default:
		return nil, errors.ErrUnsupported
	}
	text, err := io.ReadAll(io.LimitReader(body, contextsLimit+1))
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		text = []byte(query.Get("source"))
	}
	switch {
	case len(text) == 0:
		return nil, nil
	case len(text) > contextsLimit:
		return nil, errors.ErrUnsupported
	}
	var said map[string]json.RawMessage
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, err
	}
	var one string
	if json.Unmarshal(said[field], &one) == nil {
		return []string{one}, nil
	}
	var several []string
	err = json.Unmarshal(said[field], &several)
	return several, err
}

// everyIndex are all indices but that of users.
const everyIndex = "*,-" + usersIndex

// What is done to all indices, OpenSearch refuses where that of users would be among them: what is at such a path below
// one that names all, and what is at such a path alone.
var (
	ofAll = []string{
		"_block", "_cache", "_close", "_delete_by_query", "_flush", "_forcemerge", "_mapping", "_mappings", "_open",
		"_settings", "_update_by_query",
	}
	ofAllAlone = []string{"_cache", "_flush", "_forcemerge", "_settings"}
)

// spareUsers has what is done to all indices be done to all but that of users.
func spareUsers(r *http.Request, at []string) {
	switch {
	case len(at) == 0:
	case slices.Contains(ofAllAlone, at[0]):
		setPath(r, slices.Concat([]string{everyIndex}, at))
	case at[0] != "_all" && at[0] != "*":
	case len(at) == 1 && r.Method == http.MethodDelete, len(at) > 1 && slices.Contains(ofAll, at[1]):
		setPath(r, slices.Concat([]string{everyIndex}, at[1:]))
	}
}

func setPath(r *http.Request, at []string) {
	r.URL.Path, r.URL.RawPath = "", ""
	for _, element := range at {
		r.URL.Path, r.URL.RawPath = r.URL.Path+"/"+element, r.URL.RawPath+"/"+url.PathEscape(element)
	}
}
