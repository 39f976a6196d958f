package market_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// dawdler is a broker that never ends an operation.
type dawdler struct{ *selling }

func (d dawdler) LastOperation(context.Context, backstay.LastOperationRequest) (backstay.Operation, error) {
	return backstay.Operation{State: backstay.InProgress, Description: "tomorrow"}, nil
}

func (d dawdler) AwaitOperation(
	ctx context.Context, _ backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	<-ctx.Done()
	return seen, ctx.Err()
}

// TestBrokersHaveTheirTime gives up an operation that takes longer than the catalog says: an instance would be
// busy for ever.
func TestBrokersHaveTheirTime(t *testing.T) {
	t.Parallel()
	const tooLong = "Service Broker failed to %s within the required time."
	b := &selling{newListener(), func(o *backstay.CatalogOffering) {
		for i := range o.Plans {
			o.Plans[i].MaximumPollingDuration = 100 * time.Millisecond
		}
	}}
	f := newFloorOf(t, markettest.NewWith(t, dawdler{b}), b.listener)
	j, err := f.CreateInstance(t.Context(), markettest.Admin, market.NewInstance{
		Name: "db", SpaceID: f.spaces[0].ID, PlanID: *f.planNamed(t, "Free"),
	})
	must(t, err)
	for _, verb := range []string{"provision", "deprovision"} {
		j, err = f.AwaitJob(t.Context(), j.ID, time.Minute)
		must(t, err)
		if j.State != backstay.JobFailed || j.Sentence != fmt.Sprintf(tooLong, verb) {
			t.Errorf("%s is %s: %s", j.Operation, j.State, j.Sentence)
		}
		j, err = f.DeleteInstance(t.Context(), markettest.Admin, backstay.InstanceID(j.Resource))
		must(t, err)
	}
}
