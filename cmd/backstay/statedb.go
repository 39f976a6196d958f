package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/state"
)

// stateInstance is our own database's name among the instances of the keeper.
const stateInstance backstay.InstanceID = "state"

// stateEngine is what it is an instance of.
const stateEngine = "postgres"

// How long our own database may take to come up, for a busy machine may have to make it or to recover it, and how long
// to come back where it is missing. Whoever starts this program again then begins anew.
const (
	statePatience = 2 * time.Minute
	backPatience  = 30 * time.Second
)

// openStore opens the state for serving, as long as nothing of it is missing.
func (p *platform) openStore(ctx context.Context, instances *local.Backend) error {
	dsn := p.cfg.Database.Reveal()
	var err error
	if dsn == "" {
		if dsn, err = p.startState(ctx, instances); err != nil {
			return fmt.Errorf("start state database: %w", err)
		}
	}
	return p.awaitBack(ctx, func() error {
		p.store, err = state.OpenToServe(ctx, dsn, p.cfg.data.checkSealed, p.log)
		if backstay.KindOf(err) == backstay.InUse {
			return advise(err, "backstay stop, where that one runs")
		}
		return err
	})
}

// awaitBack calls look until nothing is missing any more, which is what Unavailable says. It tells what is
// missing, once, and has patience before it fails with it.
func (p *platform) awaitBack(ctx context.Context, look func() error) error {
	limited, cancel := context.WithTimeout(ctx, backPatience)
	defer cancel()
	told := false
	err := wait.Until(limited, wait.Every(time.Second), func() (again bool, err error) {
		if err = look(); backstay.KindOf(err) != backstay.Unavailable {
			return false, err
		}
		if !told {
			p.log.Error("nothing is made in the place of what is missing", "error", err)
			told = true
		}
		return true, err
	})
	if backstay.KindOf(err) == backstay.Unavailable {
		return advise(err, "%s", p.cfg.doctor)
	}
	return err
}

// startState brings up the private state database, the way any instance is brought up, and returns
// how to reach it. One that exists is brought to the newest version that is installed.
func (p *platform) startState(ctx context.Context, instances *local.Backend) (dsn string, err error) {
	_, err = instances.Await(ctx, stateInstance, 0)
	switch backstay.KindOf(err) {
	case backstay.NotFound:
		err = p.recordState(ctx, instances)
	default:
		if err == nil {
			err = p.upgradeState(ctx, instances)
		}
	}
	if err != nil {
		return "", err
	}
	return awaitState(ctx, instances)
}

// recordState has the keeper keep a state database of which it has no record: a new one at the first start;
// at a later one, that which is there. Where that is missing, it waits for it to come back.
func (p *platform) recordState(ctx context.Context, instances *local.Backend) error {
	if !p.cfg.data.hasServed() {
		return applyState(ctx, instances, "", nil)
	}
	if err := p.awaitBack(ctx, p.cfg.data.stateMissing); err != nil {
		return err
	}
	version, err := os.ReadFile(filepath.Join(p.cfg.data.stateData(), versionFile))
	if err != nil {
		return fmt.Errorf("read the version of the state database: %w", err)
	}
	p.log.Warn("the keeper has lost its record of the state database; it is made anew around the data that is there")
	return applyState(ctx, instances, strings.TrimSpace(string(version)), &backend.Served{})
}

// applyState asks the keeper for our own database, of the version that its data is of, or of the newest.
func applyState(ctx context.Context, instances *local.Backend, version string, served *backend.Served) error {
	inventory, err := instances.Inventory(ctx)
	if err != nil {
		return err
	}
	e, ok := stateVersion(inventory, version)
	if version == "" {
		e, ok = nextStateVersion(inventory, "")
	}
	switch {
	case ok:
		spec := newStateSpec(e.Version)
		spec.Served = served
		return instances.Apply(ctx, spec)
	case version != "":
		return advise(fmt.Errorf("its data is that of PostgreSQL %s, which is not on this machine", version),
			"apt-get install postgresql-%s", version)
	}
	return advise(errors.New("there is no PostgreSQL on this machine"), "apt-get install postgresql-15")
}

// stateVersion finds what our own database can run: the version, or the newest one if that is empty.
func stateVersion(inventory backend.Inventory, version string) (backend.EngineVersion, bool) {
	for _, e := range inventory.Engines { // newest first
		if e.Engine == stateEngine && (version == "" || e.Version == version) {
			return e, true
		}
	}
	return backend.EngineVersion{}, false
}

// newStateSpec is what is wanted of our own database when it begins.
func newStateSpec(version string) backend.Spec {
	return backend.Spec{
		Instance: stateInstance, Generation: 1, Engine: stateEngine, Version: version, Private: true,
		Size: backstay.Size{Storage: 10 * backstay.GB, Memory: 512 * backstay.MB, Connections: 60},
	}
}

// awaitState returns how to reach the private state database once it serves.
func awaitState(ctx context.Context, instances *local.Backend) (dsn string, err error) {
	limited, cancel := context.WithTimeout(ctx, statePatience)
	defer cancel()
	var last backend.Status
	for last.Phase != backend.Running {
		s, err := instances.Await(limited, stateInstance, last.Revision)
		if limited.Err() != nil && ctx.Err() == nil {
			return "", fmt.Errorf("it does not come up: %s", last.Message)
		}
		if err != nil {
			return "", err
		}
		last = s
	}
	admin, err := instances.Admin(limited, stateInstance)
	return postgres.AdminDSN(admin.SocketDir, admin.Port), err
}

// hasServed reports whether a Backstay served on this data directory before. While its first start goes on, the
// envelope of its keys has another name.
func (d dataDir) hasServed() bool {
	if exists(d.envelopeFile()) || len(d.instances()) > 0 {
		return true
	}
	return !exists(d.newEnvelopeFile()) && (exists(d.sealKey()) || exists(filepath.Join(d.stateData(), versionFile)))
}

// instances are the users' instances of which anything lies in this data directory.
func (d dataDir) instances() []string {
	kept, _ := os.ReadDir(filepath.Join(string(d), "instances")) // what cannot be read has nothing that we could miss
	records, _ := os.ReadDir(filepath.Join(string(d), "keeper", "instances"))
	var ids []string
	for _, entry := range append(kept, records...) {
		id := strings.TrimSuffix(entry.Name(), ".json")
		if uuid.Validate(id) == nil { // the place may be a volume of its own, with what file systems have there
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// stateMissing is nil if the private state database lies where it should, or never was there.
func (d dataDir) stateMissing() error {
	if exists(filepath.Join(d.stateData(), versionFile)) || !d.hasServed() {
		return nil
	}
	return backstay.Errorf(backstay.Unavailable,
		"The state database is missing: there is nothing in %s, though %s. It knows all users and %s. "+
			"Nothing was changed. Mount or restore what is missing, or name the database by --database-url if it is another; "+
			"to begin anew, name another data directory.", d.stateData(), d.trace(), d.count())
}

// checkSealed is nil if the state database has what is sealed in it, or need not have anything.
func (d dataDir) checkSealed(sealed bool) error {
	if !sealed && len(d.instances()) > 0 {
		return backstay.Errorf(backstay.Unavailable,
			"The state database is empty, though %s served before: it has %s. Nothing was changed. Restore the state, "+
				"or name the database that it is in by --database-url.", d, d.count())
	}
	return nil
}

// trace is what shows that a Backstay served before.
func (d dataDir) trace() string {
	for _, key := range []string{d.envelopeFile(), d.sealKey()} {
		if exists(key) {
			return key + " is there"
		}
	}
	return d.count() + " are there"
}

func (d dataDir) count() string {
	n := len(d.instances())
	if n == 1 {
		return "1 service instance"
	}
	return fmt.Sprintf("%d service instances", n)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
