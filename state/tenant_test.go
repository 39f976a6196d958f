package state_test

import (
	"testing"

	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/tenant"
	"github.com/backstay/backstay/tenant/tenanttest"
)

func TestTenantStore(t *testing.T) {
	t.Parallel()
	tenanttest.RunStore(t, func(t testing.TB) tenant.Store { return markettest.OpenStore(t).Tenants() })
}
