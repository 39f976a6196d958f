package osb

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/backstay/backstay"
)

// copies is the extension by which a platform hears whose data a new instance is to begin with by its parameters, "PUT
// /v2/backstay/copies", and by which it then vouches that somebody has consented to that: the field "backstay_copy_of"
// of the request for the instance (docs/decisions/a-label-consents-to-a-copy.md).
const copies = "copies"

type copiesBody struct {
	Parameters json.RawMessage      `json:"parameters,omitempty"`
	CopyOf     *backstay.InstanceID `json:"copy_of,omitempty"` // in the answer; empty: of none
}

func tellSource(r *http.Request) (any, error) {
	c, ok := askingOf(r.Context()).broker.(backstay.Copier)
	if !ok {
		return nil, errSilent
	}
	var asked copiesBody
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return nil, backstay.Wrapf(err, backstay.Invalid, "The request is not a JSON object.")
	}
	source, err := c.Source(r.Context(), canonical(asked.Parameters))
	return copiesBody{CopyOf: &source.InstanceID}, err
}

// Source asks a broker of ours whose data a new instance is to begin with. A user waits for it no longer than for
// whether the instance is admitted.
func (c *Client) Source(ctx context.Context, parameters json.RawMessage) (backstay.Source, error) {
	limited, cancel := context.WithTimeout(ctx, min(admissionPatience, c.timeout()))
	defer cancel()
	c.extended(limited, copies, backstay.Call{}) // read the catalog if it was not
	var b copiesBody
	err := c.told(limited, copies, request{method: http.MethodPut, body: copiesBody{Parameters: parameters}}, &b)
	switch {
	case ctx.Err() != nil:
		return backstay.Source{}, ended(ctx)
	case limited.Err() != nil:
		err = backstay.Wrapf(err, backstay.Unavailable, "The service broker does not tell in time what is to be copied.")
	case err == nil && (b.CopyOf == nil || !printable(string(*b.CopyOf), maxID)):
		err = backstay.Errorf(backstay.Unavailable, "The service broker does not tell what is to be copied.")
	}
	if err != nil {
		return backstay.Source{}, err
	}
	return backstay.Source{InstanceID: *b.CopyOf}, nil
}
