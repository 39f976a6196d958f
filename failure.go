package backstay

import (
	"errors"
	"time"
)

// ErrorCode is the specification's own word for a refusal (OSB 2.17, "Service Broker Errors").
type ErrorCode string

const (
	AsyncRequired           ErrorCode = "AsyncRequired"           // whoever asks must wait for what takes time
	ConcurrencyError        ErrorCode = "ConcurrencyError"        // another operation is in progress
	RequiresApp             ErrorCode = "RequiresApp"             // a binding must be an app's
	MaintenanceInfoConflict ErrorCode = "MaintenanceInfoConflict" // another version than the catalog's
)

// Failure is what there is to know of a request to a [Broker] that failed, besides Kind and sentence.
type Failure struct {
	Code ErrorCode // empty: the specification has no word for it

	// Orphan says that the broker may have made, or be making, the instance or the binding that it was asked for: it
	// took too long to answer, say, or told nothing that can be understood (OSB 2.17, "Orphan Mitigation"). Whoever
	// asked has to end it, until the broker says that there is none.
	Orphan bool

	// The following are said of an update.
	Unusable     bool // the instance serves no more ("instance_usable": false)
	Unrepeatable bool // asking for the same again cannot help ("update_repeatable": false)

	RetryAfter time.Duration // how long whoever asks is to wait before they ask again; zero: nothing is known of that
}

type failed struct {
	error
	failure Failure
}

func (f *failed) Unwrap() error { return f.error }

// WithFailure returns err, of which there is that to know.
func WithFailure(err error, f Failure) error { return &failed{err, f} }

// FailureOf returns what there is to know of err besides its Kind and its sentence: the zero Failure, if nothing is.
func FailureOf(err error) Failure {
	var f *failed
	if errors.As(err, &f) {
		return f.failure
	}
	return Failure{}
}
