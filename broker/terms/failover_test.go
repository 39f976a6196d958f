package terms_test

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

// TestFailoverIsAskedFor by either of its names, of a plan with a standby.
func TestFailoverIsAskedFor(t *testing.T) {
	t.Parallel()
	pair := small
	pair.Nodes = 2
	larger := pair
	larger.Name = "M"
	for _, tc := range []struct {
		given     string
		plan      *terms.Plan
		failovers int64
		words     string
	}{
		{given: `{"reboot":true,"force_failover":true}`, failovers: 1},
		{given: `{"force_failover":true}`, words: "force_failover goes with reboot"},
		{given: `{"reboot":true,"force_failover":true}`, plan: &larger, words: "do not go together"},
		{given: `{"test_failover":true}`, failovers: 1},
		{given: `{"test_failover":false}`},
		{given: `{"test_failover":"yes"}`, words: "of the wrong type"},
		{given: `{"test_failover":true}`, plan: &larger, words: "test_failover goes alone"},
		{given: `{"test_failover":true,"reboot":true}`, words: "test_failover goes alone"},
		{given: `{"test_failover":true,"enable_things":["a"]}`, words: "test_failover goes alone"},
		{given: `{"test_failover":true,"apply_at_maintenance_window":true}`, words: "test_failover goes alone"},
	} {
		agreed, err := pair.Change(instance(t, pair, ""), terms.Change{Plan: tc.plan, Parameters: raw(tc.given)})
		refused(t, err, backstay.Invalid, tc.words)
		if err == nil && (agreed.Spec.Failovers != tc.failovers || agreed.Spec.Restarts != 0) {
			t.Errorf("%s: %d failovers and %d restarts are asked for", tc.given, agreed.Spec.Failovers, agreed.Spec.Restarts)
		}
	}
}
