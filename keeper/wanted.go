package keeper

import (
	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/instance"
)

// Wanted returns the Spec that the keeper of a data directory holds of an instance. It is NotFound if there is none
// that can be read. It changes nothing, and the keeper may run meanwhile.
func Wanted(dataDir string, id backstay.InstanceID) (backend.Spec, error) {
	r, err := instance.Records{Dir: Config{DataDir: dataDir}.recordsDir()}.Of(id)
	if err != nil {
		return backend.Spec{}, backstay.Wrapf(err, backstay.NotFound, "There is no record of instance %s in %s.", id, dataDir)
	}
	return r.Spec, nil
}
