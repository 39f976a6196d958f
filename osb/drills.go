package osb

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/backstay/backstay"
)

// drills is the extension by which a platform tells whether the users of an instance allow drills, "PUT
// /v2/backstay/drills" (docs/decisions/a-label-allows-drills.md).
const drills = "drills"

type drillsBody struct {
	InstanceID backstay.InstanceID `json:"instance_id,omitempty"`
	Allowed    bool                `json:"allowed"`
}

func hearOfDrills(r *http.Request) (any, error) {
	holder, ok := askingOf(r.Context()).broker.(backstay.DrillHolder)
	if !ok {
		return nil, errSilent
	}
	var told drillsBody
	if err := json.NewDecoder(r.Body).Decode(&told); err != nil || isNoID(told.InstanceID) {
		return nil, backstay.Wrapf(err, backstay.Invalid, "The request does not name an instance, or is not a JSON object.")
	}
	return drillsBody{Allowed: told.Allowed}, holder.AllowDrills(r.Context(), told.InstanceID, told.Allowed)
}

// AllowDrills tells a broker of ours whether the users of an instance allow drills.
func (c *Client) AllowDrills(ctx context.Context, id backstay.InstanceID, allowed bool) error {
	c.extended(ctx, drills, backstay.Call{}) // read the catalog if it was not
	if err := ended(ctx); err != nil {
		return err
	}
	var heard drillsBody
	return c.told(ctx, drills, request{method: http.MethodPut, body: drillsBody{id, allowed}}, &heard)
}
