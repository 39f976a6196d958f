package market

import (
	"context"

	"github.com/backstay/backstay"
)

// AllowingDrills lists the instances whose developers allow the operator to hold drills, oldest first.
func (m *Market) AllowingDrills(ctx context.Context) ([]backstay.Instance, error) {
	l, err := m.Store.Instances(ctx, InstanceFilter{
		Types: []backstay.InstanceType{backstay.Managed},
		Match: Match{Labels: Selector{{Key: backstay.DrillLabel, Values: []string{backstay.DrillWanted}}}},
	})
	return l.Items, err
}

// MayDrill tells of which instances that is.
func (m *Market) MayDrill(ctx context.Context) (map[backstay.InstanceID]bool, error) {
	allowing, err := m.AllowingDrills(ctx)
	ids := map[backstay.InstanceID]bool{}
	for _, in := range allowing {
		ids[in.ID] = true
	}
	return ids, err
}
