package mysql_test

import "testing"

// One server for all that bindings may and may not do.
func TestBindings(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, tc := range []struct {
		name string
		test func(*testing.T, server)
	}{
		{"DefinersOutliveBindings", testDefinersOutliveBindings},
		{"BoundAgain", testBoundAgain},
		{"Defaults", testDefaults},
		{"Refusals", testRefusals},
		{"DataDirectory", testDataDirectory},
		{"OtherAccounts", testOtherAccounts},
		{"TLS", testTLS},
		{"Zones", testZones},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.test(t, s)
		})
	}
}
