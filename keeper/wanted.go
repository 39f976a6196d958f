package keeper

import (
	"errors"
	"io/fs"
	"log/slog"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/instance"
)

// Wanted returns the Spec that the keeper of a data directory holds of an instance. It is NotFound if there is none
// that can be read. It changes nothing, and the keeper may run meanwhile.
func Wanted(dataDir string, id backstay.InstanceID) (backend.Spec, error) {
	c := Config{DataDir: dataDir}
	records, err := instance.Records{Dir: c.recordsDir(), Log: slog.New(slog.DiscardHandler)}.Read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return backend.Spec{}, err
	}
	for _, r := range records {
		if r.Spec.Instance == id {
			return r.Spec, nil
		}
	}
	return backend.Spec{}, backstay.Errorf(backstay.NotFound, "There is no record of instance %s in %s.", id, dataDir)
}
