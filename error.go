package backstay

import (
	"errors"
	"fmt"
)

// Kind says what the person who asked can do about an error. Every door translates each Kind once,
// through a total table.
type Kind uint8

const (
	Internal    Kind = iota // nothing: our bug or a broken host; the sentence is never shown
	Invalid                 // change the request
	Anonymous               // log in
	Forbidden               // ask someone for a role
	NotFound                // absent, or hidden from this actor; we never say which
	Taken                   // choose another name
	Busy                    // an operation is in progress: retry when it ends
	InUse                   // remove what depends on it first
	Unsupported             // choose another plan or offering
	Unavailable             // a broker, an engine or room on the machine is missing: retrying may help
)

// Kinds lists every Kind, so that a door's test can prove its table total.
func Kinds() []Kind {
	return []Kind{Internal, Invalid, Anonymous, Forbidden, NotFound, Taken, Busy, InUse, Unsupported, Unavailable}
}

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", Anonymous: "anonymous", Forbidden: "forbidden", NotFound: "not-found",
	Taken: "taken", Busy: "busy", InUse: "in-use", Unsupported: "unsupported", Unavailable: "unavailable",
}

// String returns the Kind's stable name, as it crosses process boundaries and lies in the database.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// KindFromString is the inverse of [Kind.String]; an unknown name is Internal.
func KindFromString(s string) Kind {
	for k, name := range kindNames {
		if name == s {
			return Kind(k)
		}
	}
	return Internal
}

// Error is a failure classified where the fact was known: a Kind for machines and a sentence for
// people. The cause is for the log only.
type Error struct {
	Kind     Kind
	Sentence string
	cause    error
}

// Errorf returns an Error of the given kind whose sentence is shown to the person who asked.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Sentence: fmt.Sprintf(format, args...)}
}

// Wrapf is Errorf with a cause that is logged and never shown.
func Wrapf(cause error, k Kind, format string, args ...any) error {
	return &Error{Kind: k, Sentence: fmt.Sprintf(format, args...), cause: cause}
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Sentence + ": " + e.cause.Error()
	}
	return e.Sentence
}

func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the Kind of the first Error in err's chain, and Internal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// SentenceOf returns what the person who asked may read of err: the sentence of the first Error in
// its chain, or a general one that reveals nothing.
func SentenceOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Kind != Internal {
		return e.Sentence
	}
	return "An unknown error occurred."
}
