package keeper

import (
	"context"
	"log/slog"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/keeper/custody"
	"github.com/backstay/backstay/keeper/instance"
)

// Wanted returns the Spec that the keeper of a data directory holds of an instance, in a record that is sealed with the
// key or not at all. It is NotFound if there is none that can be read. It changes nothing, and the keeper may run
// meanwhile.
func Wanted(dataDir string, key seal.Key, id backstay.InstanceID) (backend.Spec, error) {
	r, err := instance.Records{Dir: Config{DataDir: dataDir}.recordsDir(), Key: key}.Of(id)
	if err != nil {
		return backend.Spec{}, backstay.Wrapf(err, backstay.NotFound, "There is no record of instance %s in %s.", id, dataDir)
	}
	return r.Spec, nil
}

// Sealed tells whether the keeper of a data directory has sealed secrets in its records.
func Sealed(dataDir string) bool {
	records := instance.Records{Dir: Config{DataDir: dataDir}.recordsDir(), Log: slog.New(slog.DiscardHandler)}
	sealed, _ := records.Sealed() // what cannot be read is not there
	return sealed
}

// RepositoryIdentity tells which repository the backups of a data directory are in; empty: none has been begun.
func RepositoryIdentity(dataDir string) (string, error) {
	m, err := custody.MarkIn(Config{DataDir: dataDir}.backupsDir())
	if !m.Begun {
		return "", err
	}
	return m.Identity, err
}

// BeginRepository has the backups of a data directory kept in that repository from now on, whichever they have been in.
// New tells that nobody had begun it. The keeper may run meanwhile.
func BeginRepository(ctx context.Context, dataDir string, r backstay.Repository) (isNew bool, err error) {
	return custody.Begin(ctx, Config{DataDir: dataDir}.backupsDir(), r)
}
