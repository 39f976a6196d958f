package instance

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
	"github.com/backstay/backstay/volume"
)

// FirstSteps make the record of a new instance durable.
func FirstSteps(m *Machine, r Record) []step.Step {
	return []step.Step{{Name: specWritten, Do: func(context.Context) error { return m.Records.Save(r) }}}
}

// Adopted is the record of an instance that has served as r wants it, and whose own record is lost. What can be
// is taken from what is there: who owns the data, and what runs in its directory. Where there is no data at all, and
// the Spec says that it begins from its own newest backup, it is the record of an instance that is to be restored. Any
// other origin is where its data came from long ago, and must not take the place of data that is missing. It fails
// where it cannot be seen what there is.
func (r Record) Adopted(ctx context.Context, m *Machine) (Record, error) {
	if err := r.findSite(m); err != nil {
		return r, err
	}
	places := []Place{firstPlace, secondPlace}
	for _, rep := range r.Replicas {
		places = append(places, rep.Place)
	}
	for _, p := range places {
		_, err := m.pool(r, p).Mount(ctx, Home(r.Spec.Instance, p), volume.Wanted{Key: r.Spec.Volume.Key})
		if err != nil && backstay.KindOf(err) != backstay.NotFound {
			return r, volumeTrouble(err)
		}
	}
	if found, err := m.Installed.Find(ctx, r.Spec.Engine, r.Spec.Version, r.Spec.Build); err == nil {
		r.Installation = found
	}
	if err := r.findPlace(m); err != nil {
		return r, err
	}
	r.findPorts(m)
	r.ReadPort = cmp.Or(r.ReadPort, r.findReadPort(m))
	r.Data = r.findData(m)
	if r.Second != nil && r.secondHasData(m) {
		r.Second.Data, r.Second.Fenced = dataName(r.Data), true
	}
	r.findReplicas(m)
	if beginsFromItself(r.Spec) && !r.anyData(m) {
		return r, nil // it is restored, as a new one is
	}
	r.Restores = restoresOf(r.Spec)
	r.begin(r.Spec.Generation)
	r.Reached = r.Spec.Generation
	n, err := m.node(r, r.Spec)
	if err != nil {
		return r, nil // it is found out again by whoever keeps the instance
	}
	var data syscall.Stat_t
	if err := syscall.Lstat(n.DataDir, &data); err == nil && isOurUID(data.Uid) {
		r.UID = data.Uid
	}
	if n, err = m.node(r, r.Spec); err != nil {
		return r, nil
	}
	if p, err := n.Find(); err == nil && p != nil {
		r.Program = node.ProgramOf(p.PID)
		p.Close()
	}
	if found, ok := m.Installed.Running(r.Spec.Engine, r.Program); ok {
		r.Installation = found
	}
	return r, nil
}

// findData names the data directory that servers of the Spec's version serve: of several, the one that was made last.
// It is empty, for the first one's name, if there is none.
func (r Record) findData(m *Machine) (name string) {
	u, tells := m.Engines[r.Spec.Engine].(engine.Upgrader)
	newest := int64(-1)
	paths, _ := filepath.Glob(filepath.Join(m.dir(r, r.Place), firstData+"-*"))
	for _, path := range paths {
		_, number, _ := strings.Cut(filepath.Base(path), "-")
		generation, err := strconv.ParseInt(number, 10, 64)
		if err != nil || generation <= newest {
			continue
		}
		if !tells {
			name, newest = filepath.Base(path), generation
		} else if version, err := u.MadeBy(engine.Node{DataDir: path}); err == nil && version == r.Spec.Version {
			name, newest = filepath.Base(path), generation
		}
	}
	return name
}

// anyData tells whether there is data of the instance, whatever its name is.
func (r Record) anyData(m *Machine) bool {
	if _, err := os.Lstat(filepath.Join(m.dir(r, r.Place), dataName(r.Data))); err == nil {
		return true
	}
	return r.Data != ""
}
