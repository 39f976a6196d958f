package market_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// TestASilentBrokerIsWaitedForOnce, and not by each list of instances anew.
func TestASilentBrokerIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	f.must(t, f.make(t, "db"))
	var asked atomic.Int32
	f.broker.mu.Lock()
	f.broker.catalog = strings.Replace(f.broker.catalog, "{", `{"backstay_extensions": ["health"],`, 1)
	f.broker.mu.Unlock()
	f.broker.on("GET instance", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/backstay/health") {
			asked.Add(1)
			<-r.Context().Done()
		}
		status(http.StatusNotFound, `{}`)(w, r)
	})
	login := backstay.BrokerLogin{Username: "platform", Password: "another"} // so that its catalog is read again
	_, j, err := f.UpdateBroker(t.Context(), markettest.Admin, f.id, market.BrokerUpdate{Login: &login})
	must(t, err)
	f.ended(t, j)
	for range 3 {
		_, err := f.Instances(t.Context(), markettest.Admin, market.InstanceFilter{})
		must(t, err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}
