package e2e

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb/osbtest"
)

// brokersElsewhere are brokers of a script's own, over HTTP, by their names.
type brokersElsewhere struct {
	t       *testing.T
	brokers map[string]*renamed
}

// renamed is a broker whose one offering a script gives a name.
type renamed struct {
	*brokertest.Memory
	offering string
}

func (b *renamed) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	offerings, err := b.Memory.Catalog(ctx)
	for i := range offerings {
		offerings[i].Name = b.offering
	}
	return offerings, err
}

// command starts a broker, or has it sell another version:
//
//	broker start NAME OFFERING   has $NAME be its address, $LOGIN and $SECRET who is served there
//	broker release NAME VERSION
func (e *brokersElsewhere) command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: broker start NAME OFFERING, or broker release NAME VERSION")
	}
	name := args[1]
	if args[0] == "release" {
		e.brokers[name].Release(args[2])
		return
	}
	b := &renamed{brokertest.NewMemory(), args[2]}
	b.Updateable, b.AsyncBindings = true, true
	s := httptest.NewServer(osbtest.Handler(e.t, b).Handler())
	ts.Defer(s.Close)
	e.brokers[name] = b
	ts.Setenv(strings.ToUpper(name), s.URL)
	ts.Setenv("LOGIN", osbtest.Username)
	ts.Setenv("SECRET", osbtest.Password.Reveal())
}
