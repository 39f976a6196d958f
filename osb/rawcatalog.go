package osb

import (
	"encoding/json"

	"github.com/backstay/backstay"
)

// ParseCatalog reads what RawCatalog has told. Whether it is sound is for whoever sells it to say.
func (c *Client) ParseCatalog(raw json.RawMessage) ([]backstay.CatalogOffering, error) {
	all, err := parseCatalog(raw)
	if err != nil {
		return nil, backstay.Wrapf(err, backstay.Unavailable, "%s: %v", invalid, err)
	}
	return all, nil
}
