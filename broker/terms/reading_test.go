package terms_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
)

// TestReadingIsKept: how an instance is read from is asked for once, stays, and is nothing that its engine is told.
func TestReadingIsKept(t *testing.T) {
	t.Parallel()
	pair := small
	pair.Nodes = 2
	made, err := pair.New(raw(`{"a":1,"max_replica_lag":60}`), 1)
	if err != nil {
		t.Fatal(err)
	}
	if lag := made.Spec.Reading.Limit(); lag != time.Minute || !made.Spec.Reading.Standby() {
		t.Errorf("what is read may be %v old, and the standby is read from: %t", lag, made.Spec.Reading.Standby())
	}
	if strings.Contains(string(made.Spec.Settings), "lag") {
		t.Errorf("the engine is told %s", made.Spec.Settings)
	}
	before := terms.Accepted{Parameters: made.Parameters, Spec: made.Spec, Windows: made.Windows}
	for _, given := range []string{`{"read_replicas":0}`, `{"read_replicas":0.0}`} {
		changed, err := pair.Change(before, terms.Change{Parameters: raw(given)})
		switch {
		case err != nil:
			t.Errorf("%s: %v", given, err)
		case changed.Spec.Reading.Standby() || changed.Spec.Reading.Limit() != time.Minute:
			t.Errorf("%s comes to %+v", given, changed.Spec.Reading)
		case !changed.Changes(before):
			t.Errorf("%s changes nothing", given)
		}
	}
	same, err := pair.Change(before, terms.Change{Parameters: raw(`{"max_replica_lag":60}`)})
	if err != nil || same.Changes(before) {
		t.Errorf("what is so already is a change (%v)", err)
	}
	if l := (backend.Reading{}).Limit(); l != backend.DefaultMaxLag {
		t.Errorf("what is read may be %v old where nobody has said", l)
	}
}

// TestReadingIsRefused where it cannot be.
func TestReadingIsRefused(t *testing.T) {
	t.Parallel()
	pair := small
	pair.Nodes = 2
	for _, tc := range []struct {
		plan         terms.Plan
		given, words string
	}{
		{pair, `{"max_replica_lag":0}`, "Parameter max_replica_lag: 0 is too little; it takes 1 or more."},
		{pair, `{"max_replica_lag":3601}`, "3601 is too much; it takes 3600 or less."},
		{pair, `{"max_replica_lag":"1m"}`, "is of the wrong type"},
		{pair, `{"read_replicas":4}`, "4 is too much; it takes 3 or less."},
		{small, `{"read_replicas":1}`, "The plan has one node, and no replica to read from: leave read_replicas out."},
		{small, `{"max_replica_lag":60}`, "leave max_replica_lag out."},
	} {
		_, err := tc.plan.New(raw(tc.given), 1)
		refused(t, err, backstay.Invalid, tc.words)
		_, err = tc.plan.Change(instance(t, tc.plan, ""), terms.Change{Parameters: raw(tc.given)})
		refused(t, err, backstay.Invalid, tc.words)
	}
}
