package osb_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb/osbtest"
)

// shaker is a broker that holds drills.
type shaker struct {
	*brokertest.Memory
	allowed map[backstay.InstanceID]bool
}

func (s shaker) AllowDrills(_ context.Context, id backstay.InstanceID, allowed bool) error {
	s.allowed[id] = allowed
	return nil
}

// TestDrillsBackToBack: a broker hears of which instances drills are allowed, and of which they are no more.
func TestDrillsBackToBack(t *testing.T) {
	t.Parallel()
	b := shaker{brokertest.NewMemory(), map[backstay.InstanceID]bool{}}
	c := osbtest.Serve(t, b)
	for _, told := range []struct {
		id      backstay.InstanceID
		allowed bool
	}{{"a", true}, {"b", true}, {"a", false}} {
		if err := c.AllowDrills(t.Context(), told.id, told.allowed); err != nil {
			t.Fatal(err)
		}
	}
	if want := map[backstay.InstanceID]bool{"a": false, "b": true}; !maps.Equal(b.allowed, want) {
		t.Errorf("it heard %v, want %v", b.allowed, want)
	}
	for body, want := range map[string]int{
		`{"allowed": true}`: 400, `{"instance_id": "\u0000", "allowed": true}`: 400, `{"instance_id": 1}`: 400,
	} {
		if status, _, got := ask(t, b, "PUT /v2/backstay/drills", body, nil); status != want {
			t.Errorf("%s is answered with %d %s; want %d", body, status, got, want)
		}
	}
	err := osbtest.Serve(t, brokertest.NewMemory()).AllowDrills(t.Context(), "a", true)
	if backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("a broker that holds none: %v", err)
	}
	down := osbtest.Ask(t, httptest.NewServer(http.NotFoundHandler()))
	if err := down.AllowDrills(t.Context(), "a", true); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("a broker that does not answer: %v", err)
	}
}
