package osb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay"
)

// What goes wrong with a broker is told in Cloud Controller's sentences, which whoever knows Cloud Foundry has met
// before. Where it has none, or one that shows what may be a secret, the sentence is ours.
const (
	timedOut    = "The request to the service broker timed out"
	unreachable = "The service broker could not be reached"
	brokenOff   = "The connection to the service broker broke off before it had answered"
	invalid     = "The service broker returned an invalid response"
	rejected    = "The service broker rejected the request"
	wrongLogin  = "Authentication with the service broker failed. Double-check that the username and password are correct."
	conflict    = "Resource conflict"

	asyncRequired = "This service plan requires client support for asynchronous service operations."
	appRequired   = "This service supports generation of credentials through binding an application only."
	concurrency   = "The service broker could not perform this operation in parallel with other running operations"
	maintenance   = "The service broker did not provide a reason for this conflict, please ensure the catalog is up to " +
		"date and you are providing a version supported by this service plan"
)

// unanswered is the error of a request to which no whole answer came.
func (r request) unanswered(cause error, connected, late bool) error {
	sentence := brokenOff
	var forbidden *backstay.Error
	switch {
	case errors.As(cause, &forbidden):
		sentence = forbidden.Sentence
	case errors.Is(cause, errTooLarge), errors.Is(cause, errEncoded):
		sentence = invalid + ": " + cause.Error()
	case late:
		sentence = timedOut
	case !connected:
		sentence = unreachable
	}
	err := backstay.Wrapf(cause, backstay.Unavailable, "%s", sentence)
	return backstay.WithFailure(err, backstay.Failure{Orphan: r.creates && connected})
}

// judge decodes an answer into v, or returns the failure that it is (OSB 2.17, the tables "Response" of each request,
// "Service Broker Errors" and "Orphan Mitigation").
func (r request) judge(a answer, v any) error {
	if slices.Contains(r.success, a.status) {
		return r.decode(a, v)
	}
	var body errorBody
	if json.Unmarshal(a.body, &body) != nil {
		body = errorBody{}
	}
	err := backstay.Errorf(r.kind(a.status, body.Error), "%s", r.sentence(a, body))
	return backstay.WithFailure(err, backstay.Failure{
		Code: known(body.Error, a.status), Orphan: r.creates && mayOrphan(a.status),
		Unusable: no(body.InstanceUsable), Unrepeatable: no(body.UpdateRepeatable),
	})
}

// known is a code of an answer that says it with the status that belongs to it.
func known(code backstay.ErrorCode, status int) backstay.ErrorCode {
	if status != http.StatusUnprocessableEntity {
		return ""
	}
	switch code {
	case backstay.AsyncRequired, backstay.ConcurrencyError, backstay.RequiresApp, backstay.MaintenanceInfoConflict:
		return code
	}
	return ""
}

// mayOrphan tells by a status that is no success whether something was made nevertheless. The specification says
// nothing of redirects; we follow none, and cannot know.
func mayOrphan(status int) bool { return status < 400 || status >= 500 }

func (r request) kind(status int, code backstay.ErrorCode) backstay.Kind {
	switch {
	case slices.Contains(r.gone, status):
		return backstay.NotFound
	case status == http.StatusBadRequest:
		return backstay.Invalid
	case status == http.StatusConflict && r.creates:
		return backstay.Taken
	case status != http.StatusUnprocessableEntity:
		return backstay.Unavailable
	}
	switch code {
	case backstay.ConcurrencyError:
		return backstay.Busy
	case backstay.RequiresApp, backstay.MaintenanceInfoConflict:
		return backstay.Invalid
	}
	return backstay.Unsupported
}

// sentence is Cloud Controller's for an answer that is a failure.
func (r request) sentence(a answer, body errorBody) string {
	said := ""
	if body.Description != "" {
		said = "Service broker error: " + shown(body.Description)
	}
	switch code := known(body.Error, a.status); {
	case a.status == http.StatusUnauthorized:
		return wrongLogin
	case a.status == http.StatusRequestTimeout:
		return timedOut
	case code == backstay.AsyncRequired:
		return asyncRequired
	case code == backstay.RequiresApp:
		return appRequired
	case code == backstay.ConcurrencyError:
		return concurrency
	case said != "":
		return said
	case code == backstay.MaintenanceInfoConflict:
		return maintenance
	case a.status == http.StatusConflict:
		return conflict
	case a.status >= 400 && a.status < 500:
		return rejected + ". " + r.told(a)
	}
	return invalid + ". " + r.told(a)
}

// told is an answer as it came, as far as it can be shown.
func (r request) told(a answer) string {
	status := strings.TrimSpace(fmt.Sprintf("Status Code: %d %s", a.status, http.StatusText(a.status)))
	if r.secret && a.status < 300 {
		return status
	}
	return status + ", Body: " + shown(string(a.body))
}

// decode reads an answer that is a success into v. One that is not what the specification says is a failure: whoever
// answered 200 has made nothing, or it had been there, and with any other status it may have.
func (r request) decode(a answer, v any) error {
	err := json.Unmarshal(a.body, v)
	if err == nil && bytes.TrimSpace(a.body)[0] != '{' {
		err = errors.New("no object") // null, which everything can be decoded from
	}
	if err == nil {
		if c, ok := v.(interface{ check() error }); ok {
			err = c.check()
		}
	}
	if err == nil {
		return nil
	}
	return r.malformed(a, err)
}

// malformed is the error of an answer that is a success and makes no sense.
func (r request) malformed(a answer, cause error) error {
	sentence := invalid + ": expected valid JSON object in body"
	var wrong *contentError
	var field *json.UnmarshalTypeError
	switch {
	case errors.As(cause, &wrong):
		sentence = invalid + ": " + wrong.Error()
	case errors.As(cause, &field) && field.Field != "":
		sentence = fmt.Sprintf("%s: expected %q in body to be of another type than %s", invalid, field.Field,
			strings.Fields(field.Value)[0])
	case !r.secret:
		sentence += ", broker returned '" + shown(string(a.body)) + "'"
	}
	err := backstay.Wrapf(cause, backstay.Unavailable, "%s", sentence)
	return backstay.WithFailure(err, backstay.Failure{Orphan: r.creates && a.status != http.StatusOK})
}

// contentError is what is wrong with the content of an answer. It shows no secret.
type contentError struct{ sentence string }

func (e *contentError) Error() string { return e.sentence }

func wrongContent(format string, args ...any) error {
	return &contentError{fmt.Sprintf(format, args...)}
}

// What Cloud Controller shows of a broker's words, and says where it has left some out.
const (
	longWords  = 16 << 10
	keptWords  = 8 << 10
	leftOffNow = "...This message has been truncated due to size. To read the full message, check the broker's logs"
)

// shown is a broker's words as they can be shown on a terminal and kept anywhere: text, and not too much of it.
func shown(words string) string {
	suffix := ""
	if len(words) > longWords {
		words, suffix = words[:keptWords], leftOffNow
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.TrimSpace(strings.ToValidUTF8(words, ""))) + suffix
}
