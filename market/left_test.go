package market_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// TestWhatAFailureHasLeft is told to the user, as far as the broker says it: that an instance cannot be used any more,
// and that the same update would fail again.
func TestWhatAFailureHasLeft(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	id := backstay.InstanceID(f.must(t, f.make(t, "left")))
	const (
		useless = " The service broker says that the service instance cannot be used any more."
		again   = " The service broker says that the same update would fail again."
		flags   = `"instance_usable": false, "update_repeatable": false}`
	)
	for _, c := range []struct {
		name  string
		patch http.HandlerFunc
		poll  http.HandlerFunc
		want  string
	}{
		{"at once", status(500, `{"description": "It burns.", `+flags), nil, "Service broker error: It burns." + useless + again},
		{"refused", status(422, `{"description": "Never.", "update_repeatable": false}`), nil,
			"Service broker error: Never." + again},
		{"later", status(202, `{}`), status(200, `{"state": "failed", "description": "It burns.", `+flags),
			"It burns." + useless + again},
		{"nothing is said", status(500, `{"description": "It burns."}`), nil, "Service broker error: It burns."},
	} {
		f.broker.on("PATCH instance", c.patch)
		f.broker.on("GET instance/last_operation", c.poll)
		_, j, err := f.UpdateInstance(t.Context(), markettest.Admin, id, market.InstanceUpdate{Parameters: []byte(`{"a":1}`)})
		must(t, err)
		f.ended(t, j)
		in, err := f.Instance(t.Context(), markettest.Admin, id)
		must(t, err)
		if got := in.LastOperation.Description; !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %q; want %q", c.name, got, c.want)
		}
	}
}
