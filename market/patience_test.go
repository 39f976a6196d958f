package market_test

import (
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// dawdler is a broker whose plans may take a tenth of a second for an operation, and which never ends one.
type dawdler struct{ *listener }

func (d dawdler) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	offerings, err := d.listener.Catalog(ctx)
	for i := range offerings[0].Plans {
		offerings[0].Plans[i].MaximumPollingDuration = 100 * time.Millisecond
	}
	return offerings, err
}

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
	const tooLong = "The service broker has not finished in the time that it has for this."
	b := newListener()
	f := newFloorOf(t, markettest.NewWith(t, dawdler{b}), b)
	j, err := f.CreateInstance(t.Context(), markettest.Admin, market.NewInstance{
		Name: "db", SpaceID: f.spaces[0].ID, PlanID: *f.planNamed(t, "Free"),
	})
	must(t, err)
	for range 2 { // the delete is given up too
		j, err = f.AwaitJob(t.Context(), j.ID, time.Minute)
		must(t, err)
		if j.State != backstay.JobFailed || j.Sentence != tooLong {
			t.Errorf("%s is %s: %s", j.Operation, j.State, j.Sentence)
		}
		j, err = f.DeleteInstance(t.Context(), markettest.Admin, backstay.InstanceID(j.Resource))
		must(t, err)
	}
}
