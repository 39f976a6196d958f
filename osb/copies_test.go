package osb_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb/osbtest"
)

// lender is a broker with one instance to copy, which wants somebody to vouch for that.
type lender struct{ *brokertest.Memory }

func (lender) Source(_ context.Context, parameters json.RawMessage) (s backstay.Source, err error) {
	switch {
	case strings.Contains(string(parameters), "two"):
		return s, backstay.Errorf(backstay.Invalid, "One source is enough.")
	case strings.Contains(string(parameters), "clone_of"):
		s.InstanceID, s.SpaceName = "source", "which is the broker's own word"
	}
	return s, nil
}

func (l lender) AdmitProvision(ctx context.Context, r backstay.ProvisionRequest) error {
	if s, err := l.Source(ctx, r.Parameters); err != nil || s.InstanceID != r.CopyOf {
		return backstay.Errorf(backstay.Unsupported, "Not without consent.")
	}
	return nil
}

func (l lender) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	if err := l.AdmitProvision(ctx, r); err != nil {
		return backstay.Provisioned{}, err
	}
	r.Parameters = nil // which this broker does not keep
	return l.Memory.Provision(ctx, r)
}

// TestCopiesBackToBack: a platform hears whose data is to be copied, and vouches for one copy. What it cannot find out
// it does not vouch for.
func TestCopiesBackToBack(t *testing.T) {
	t.Parallel()
	c := osbtest.Serve(t, lender{brokertest.NewMemory()})
	for parameters, want := range map[string]backstay.InstanceID{`{"clone_of": "x"}`: "source", `{"reboot": true}`: ""} {
		got, err := c.Source(t.Context(), json.RawMessage(parameters))
		if err != nil || got != (backstay.Source{InstanceID: want}) {
			t.Errorf("%s: %+v, %v", parameters, got, err)
		}
	}
	if _, err := c.Source(t.Context(), json.RawMessage(`{"clone_of": "two"}`)); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("two sources: %v", err)
	}
	r := brokertest.NewRequest(t, c)
	r.Parameters = json.RawMessage(`{"clone_of": "x"}`)
	for _, of := range []backstay.InstanceID{"", "another"} {
		r.CopyOf = of
		if err := c.AdmitProvision(t.Context(), r); !strings.Contains(backstay.SentenceOf(err), "Not without consent.") {
			t.Errorf("vouched for the copy of %q: admitted with %v", of, err)
		}
		if _, err := c.Provision(t.Context(), r); !strings.Contains(backstay.SentenceOf(err), "Not without consent.") {
			t.Errorf("vouched for the copy of %q: %v", of, err)
		}
	}
	r.CopyOf = "source"
	if err := c.AdmitProvision(t.Context(), r); err != nil {
		t.Error(err)
	}
	if _, err := c.Provision(t.Context(), r); err != nil {
		t.Error(err)
	}

	_, err := osbtest.Serve(t, brokertest.NewMemory()).Source(t.Context(), json.RawMessage(`{}`))
	if backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("a broker that cannot tell: %v", err)
	}
	down := osbtest.Ask(t, httptest.NewServer(http.NotFoundHandler()))
	if _, err := down.Source(t.Context(), json.RawMessage(`{}`)); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("a broker that does not answer: %v", err)
	}
}
