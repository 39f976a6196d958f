// Package outage tells doors when a request failed because a database that the platform needs does not
// answer: whoever asked can do something about it, which is to try again. To jobs such an error stays
// Internal, so that they are tried again by themselves and give nothing up.
package outage

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/backstay/backstay"
)

// Explain returns err as Unavailable, with a sentence, if nobody has classified it and it comes of a
// connection that could not be made or broke, or of a server that is starting, stopping or full. Every
// other error it returns as it is.
func Explain(err error) error {
	if err == nil || backstay.KindOf(err) != backstay.Internal || !isOutage(err) {
		return err
	}
	return backstay.Wrapf(err, backstay.Unavailable,
		"Backstay cannot reach a database that it needs. Try again in a moment, or ask the operator.")
}

// refusals are the SQLSTATEs, or their beginnings, by which PostgreSQL says that it serves nobody now
// (PostgreSQL, Appendix A): connection exceptions, insufficient resources, a server that is shutting down,
// has crashed or is starting up.
var refusals = []string{"08", "53", "57P01", "57P02", "57P03"}

func isOutage(err error) bool {
	// A server that dies in the middle of a statement ends the connection without a word.
	if broken := new(net.OpError); errors.As(err, &broken) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	var refusal interface{ SQLState() string }
	if !errors.As(err, &refusal) {
		return false
	}
	for _, state := range refusals {
		if strings.HasPrefix(refusal.SQLState(), state) {
			return true
		}
	}
	return false
}
