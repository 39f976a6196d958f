package osb

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay"
)

// How long what comes from outside may be. The specification bounds operation keys.
const (
	maxID        = 1000
	maxRequestID = 1000
	maxName      = 10_000
)

// refusal is a request that no route can understand.
type refusal struct {
	status   int
	sentence string
}

func refused(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

var versions = regexp.MustCompile(`^(\d{1,4})\.(\d{1,4})$`)

// checkVersion refuses what is not written for version 2 (OSB 2.17, "API Version Header").
func checkVersion(r *http.Request, _ *asking) *refusal {
	given := r.Header.Get(versionHeader)
	m := versions.FindStringSubmatch(given)
	switch {
	case given == "":
		return refused(http.StatusPreconditionFailed, "The header %s is missing: send %s.", versionHeader, version)
	case m == nil:
		return refused(http.StatusPreconditionFailed, "The header %s is not a version, as in %s.", versionHeader, version)
	case m[1] != "2":
		return refused(http.StatusPreconditionFailed,
			"Version %s of the Open Service Broker API is not spoken here: send %s.", given, version)
	}
	return nil
}

// minor is the second number of a version that was checked.
func minor(r *http.Request) int {
	n, _ := strconv.Atoi(versions.FindStringSubmatch(r.Header.Get(versionHeader))[2])
	return n
}

// readCall reads for whom a request is made, and its own name.
func readCall(r *http.Request, a *asking) *refusal {
	a.call.RequestID = r.Header.Get(requestIdentityHeader)
	if !printable(a.call.RequestID, maxRequestID) {
		return refused(http.StatusBadRequest, "The header %s is not a text of at most %d bytes.", requestIdentityHeader,
			maxRequestID)
	}
	given := r.Header.Get(originatingHeader)
	if given == "" {
		return nil
	}
	platform, encoded, _ := strings.Cut(given, " ")
	value, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	var object map[string]any
	if err == nil && json.Unmarshal(value, &object) == nil && object != nil {
		value, err = json.Marshal(object) // which has no half of a character
	}
	if err != nil || object == nil || platform == "" || !printable(platform, maxID) ||
		bytes.Contains(value, []byte(`\u0000`)) { // which no database keeps
		return refused(http.StatusBadRequest,
			"The header %s is not a platform and an object, as in: cloudfoundry BASE64-OF-JSON.", originatingHeader)
	}
	a.call.Identity = backstay.OriginatingIdentity{Platform: platform, Value: value}
	return nil
}

// checkPath refuses ids and keys that nobody could have given. The routes take them apart.
func checkPath(r *http.Request, _ *asking) *refusal {
	for _, part := range strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		switch part { // which a router would take for directions, and answer with another address
		case ".", "..":
			return refused(http.StatusBadRequest, "An id in a path that is %q is to be escaped, as %q.", part,
				strings.ReplaceAll(part, ".", "%2E"))
		case "":
			return refused(http.StatusBadRequest, "An id is empty.")
		}
	}
	query := r.URL.Query()
	for _, id := range append(ids(r), query.Get("service_id"), query.Get("plan_id")) {
		if !printable(id, maxID) {
			return refused(http.StatusBadRequest, "An id is not a text of at most %d bytes.", maxID)
		}
	}
	if !printable(query.Get("operation"), maxOperationKey) {
		return refused(http.StatusBadRequest, "The operation is not a text of at most %d bytes.", maxOperationKey)
	}
	return nil
}

// printable tells whether a text is one that can be shown and kept, and not too long.
func printable(s string, longest int) bool {
	return len(s) <= longest && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// readBody reads a request's body, which must be an object with fields of their types, and puts back what it has read:
// the library would read one of any size.
func (h *Handler) readBody(r *http.Request, a *asking) *refusal {
	if r.Method != http.MethodPut && r.Method != http.MethodPatch {
		r.Body = http.NoBody
		return nil
	}
	if r.Header.Get("Content-Encoding") != "" {
		return refused(http.StatusUnsupportedMediaType, "The request is encoded: send it as it is.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, int64(h.maxBody())))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refused(http.StatusRequestEntityTooLarge, "The request is larger than %s.", h.maxBody())
	case err != nil:
		return refused(http.StatusBadRequest, "The request broke off.")
	}
	r.Header.Set("Content-Type", "application/json") // by that of a form the library would look for fields in the body
	r.Body = io.NopCloser(bytes.NewReader(body))
	return a.checkBody(body)
}

// anyBody has every field of a body that something is made of.
type anyBody struct {
	bindBody
	OrganizationID  string           `json:"organization_guid"`
	SpaceID         string           `json:"space_guid"`
	MaintenanceInfo *maintenanceBody `json:"maintenance_info"`
	Previous        *previousBody    `json:"previous_values"`

	CopyOf backstay.InstanceID `json:"backstay_copy_of"` // which the library does not know
}

func (a *asking) checkBody(body []byte) *refusal {
	var b anyBody
	err := json.Unmarshal(body, &b)
	var field *json.UnmarshalTypeError
	switch {
	case errors.As(err, &field) && field.Field != "":
		return refused(http.StatusBadRequest, "The field %s is of another type than %s.",
			strings.TrimPrefix(field.Field, "bindBody."), field.Value)
	case err != nil || bytes.TrimSpace(body)[0] != '{':
		return refused(http.StatusBadRequest, "The request is not a JSON object.")
	case b.Parameters != nil && string(b.Parameters) != "null" && b.Parameters[0] != '{':
		return refused(http.StatusBadRequest, "Parameters must be a JSON object")
	}
	a.copyOf = b.CopyOf
	texts := []string{
		b.OrganizationID, b.SpaceID, string(b.ServiceID), string(b.PlanID), string(b.AppID), string(b.CopyOf),
	}
	if b.Resource != nil {
		texts = append(texts, string(b.Resource.AppID), b.Resource.Route)
	}
	if c := b.Context; c != nil {
		texts = append(texts, c.Platform, string(c.OrganizationID), c.OrganizationName, string(c.SpaceID), c.SpaceName,
			c.InstanceName, c.ClusterID, c.Namespace)
	}
	for _, text := range texts {
		if !printable(text, maxName) {
			return refused(http.StatusBadRequest, "An id or a name is not a text of at most %d bytes.", maxName)
		}
	}
	return nil
}

// canonical is a request's parameters as they are compared with those of the same request before: whoever sends it
// again may have its fields in another order. None are none, whichever way that is said.
func canonical(parameters json.RawMessage) json.RawMessage {
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(parameters))
	d.UseNumber()
	if d.Decode(&object) != nil || len(object) == 0 {
		return nil
	}
	encoded, err := json.Marshal(object)
	if err != nil {
		return parameters // it was decoded a moment ago
	}
	return encoded
}

// ids are those that a path names. In them a slash is escaped.
func ids(r *http.Request) (all []string) {
	for _, part := range strings.Split(r.URL.EscapedPath(), "/") {
		id, err := url.PathUnescape(part)
		if err != nil {
			id = "\x00" // which no id has
		}
		all = append(all, id)
	}
	return all
}
