package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/node"
	"github.com/backstay/backstay/volume"
)

// Site is where a place of an instance lies, and how its volume is made.
type Site struct {
	Dir    string      `json:"dir,omitempty"` // of another disk; empty: in the data directory
	Volume volume.Kind `json:"volume,omitempty"`
}

// site is where a place of the instance lies. The first is always in the data directory.
func (r Record) site(p Place) Site {
	if p == secondPlace && r.Apart != nil {
		return *r.Apart
	}
	return Site{Volume: r.Volume}
}

// VolumeKind is how the volume of the node is made that serves.
func (r Record) VolumeKind() volume.Kind { return r.site(r.Place).Volume }

func (m *Machine) disk(r Record, p Place) *Disk { return m.Disks.At(r.site(p).Dir) }

// pool is where the volume of a place of an instance lies.
func (m *Machine) pool(r Record, p Place) volume.Pool { return m.disk(r, p).Pool(r.site(p).Volume) }

// dir is the directory of a place of an instance: where its volume is mounted, if it has one.
func (m *Machine) dir(r Record, p Place) string {
	return filepath.Join(m.disk(r, p).Instances(), string(Home(r.Spec.Instance, p)))
}

// Usage is how full the volume of the node is that serves.
func (m *Machine) Usage(r Record) (volume.Usage, error) { return m.pool(r, r.Place).Usage(r.Home()) }

// DisksOf are those that the nodes lie on which a Spec of the instance asks for, or will lie on: one for each, that of
// the node which serves first.
func (m *Machine) DisksOf(r Record, s backend.Spec) []*Disk {
	disks := []*Disk{m.disk(r, r.Place)}
	switch {
	case !hasSeveral(s):
	case r.Place == firstPlace && !r.needsSecondPlace() && (r.Second == nil || r.Second.Data == ""):
		disks = append(disks, m.Disks.At(m.Disks.Standby))
	default:
		disks = append(disks, m.disk(r, r.Place.other()))
	}
	return disks
}

// needsSecondPlace tells whether there is something at the second place that the instance may need.
func (r Record) needsSecondPlace() bool {
	return r.Place == secondPlace || r.keepsElsewhere() || r.Second != nil && r.Second.Fenced
}

// newSite is where the second place of an instance is made if it is made now. Where the first has a volume that keeps
// to its size, so does the second, or it waits: what only one of them can hold is lost with that.
func (m *Machine) newSite(ctx context.Context, r Record) (s Site, err error) {
	if s.Volume = r.Volume; m.Disks.Standby == "" {
		return s, nil
	}
	d := m.Disks.At(m.Disks.Standby)
	if s.Dir = d.Dir; s.Volume == volume.Image {
		err = m.ImagesOn(ctx, d)
	}
	return s, err
}

// isMisplaced tells whether the second lies in a directory though the instance has a volume, as earlier keepers made it
// where the disk for standbys was full for a moment: what it takes there is kept to nothing.
func (r Record) isMisplaced() bool {
	return r.Apart != nil && r.Volume == volume.Image && r.Apart.Volume != volume.Image && !r.needsSecondPlace()
}

// placePause is between two looks whether there can be a volume for a second that has none.
const placePause = time.Minute

// placeAnew has a second that is misplaced be made anew, once there can be a volume for it.
func (in *Instance) placeAnew(ctx context.Context) {
	r, s := in.Record(), &in.seen.second
	if !r.isMisplaced() || s.placed || in.m.Now().Before(s.place) {
		return
	}
	s.place = in.m.Now().Add(placePause)
	site, err := in.m.newSite(ctx, r)
	if s.placed = err == nil && site != *r.Apart; s.placed {
		in.log.Warn("a standby without a volume is made anew, with one", "dir", site.Dir)
	}
}

// settleSite settles where the second is made that is to follow: the second place changes disks when nothing on the one
// before is needed any more. The disk is there then.
func (in *Instance) settleSite(ctx context.Context) error {
	r := in.Record()
	if r.needsSecondPlace() {
		return in.m.disk(r, r.Place.other()).Ready()
	}
	if in.m.Disks.Standby != "" {
		if err := in.m.Disks.At(in.m.Disks.Standby).Ready(); err != nil {
			return err
		}
	}
	s, err := in.m.newSite(ctx, r)
	if err != nil || s == r.site(secondPlace) {
		return err
	}
	if _, err := in.stopSecond(); err != nil { // whoever has started it
		return err
	}
	if err := in.clearPlace(ctx, secondPlace); err != nil {
		return err
	}
	in.log.Info("the standby is made at another place", "dir", s.Dir, "before", r.site(secondPlace).Dir)
	return in.amendAlone(func(r *Record) {
		if r.Apart = &s; s == (Site{Volume: r.Volume}) {
			r.Apart = nil
		}
	})
}

// clearPlace removes all that there is at a place, whose node has ended. On a disk that is away, or does not work any
// more, it is left: what nobody can remove is to keep nobody from going on.
func (in *Instance) clearPlace(ctx context.Context, p Place) error {
	r := in.Record()
	err := errors.Join(in.m.pool(r, p).Remove(ctx, Home(in.ID, p)), os.RemoveAll(in.m.dir(r, p)))
	if err != nil && r.site(p).Dir != "" && in.m.disk(r, p).Ready() != nil {
		in.log.Warn("what lies on a disk that is lost is not removed", "dir", in.m.dir(r, p), "error", err)
		return nil
	}
	return err
}

// makeSecondPlace makes the volume of the second. One that cannot be mounted again and again has nothing on it that
// anybody needs, unless there is data that the instance can return to.
func (in *Instance) makeSecondPlace(ctx context.Context, worn bool) error {
	if err := in.settleSite(ctx); err != nil {
		return err
	}
	r := in.Record()
	p, wanted := r.Place.other(), volume.Wanted{Size: r.volumeSize(), Key: r.Spec.Volume.Key}
	_, err := in.m.pool(r, p).Ensure(ctx, r.SecondHome(), wanted)
	if err != nil && ctx.Err() == nil && worn && !r.keepsElsewhere() {
		in.log.Warn("the volume of a standby cannot be mounted, and is made anew", "error", err)
		if err = in.clearPlace(ctx, p); err == nil {
			_, err = in.m.pool(r, p).Ensure(ctx, r.SecondHome(), wanted)
		}
	}
	if err != nil {
		return volumeTrouble(err)
	}
	return nil
}

// mountSecond has the volume of the second be there.
func (in *Instance) mountSecond(ctx context.Context) error {
	r := in.Record()
	p, wanted := r.Place.other(), volume.Wanted{Size: r.volumeSize(), Key: r.Spec.Volume.Key}
	if err := in.m.disk(r, p).Ready(); err != nil {
		return err
	}
	switch _, err := in.m.pool(r, p).Mount(ctx, r.SecondHome(), wanted); {
	case backstay.KindOf(err) == backstay.NotFound:
		return backstay.Wrapf(err, backstay.Unavailable, "The volume of the standby is missing.")
	case err != nil:
		return volumeTrouble(err)
	}
	return nil
}

// wantSecondData refuses a second whose data is missing, or on a disk that does not work any more: nothing is to be
// made in its place but a copy.
func (in *Instance) wantSecondData(n node.Node) error {
	_, err := os.Lstat(n.DataDir)
	if err == nil {
		err = in.m.lookForDisk(in.Record(), in.Record().Place.other())
	}
	if err != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The data of the standby is missing, or cannot be read.")
	}
	return nil
}

// lookForDisk returns the error of the disk of a place, if it answers nothing but errors.
func (m *Machine) lookForDisk(r Record, p Place) error {
	_, err := os.Lstat(m.dir(r, p))
	if err == nil && r.site(p).Volume == volume.Image { // whose file system may not have noticed yet
		_, err = m.pool(r, p).Usage(Home(r.Spec.Instance, p))
	}
	if isLost(err) {
		return err
	}
	return nil
}

// findSite finds the disk that the second place of an instance is on, whose record is lost.
func (r *Record) findSite(m *Machine) error {
	if m.Disks.Standby == "" {
		return nil
	}
	d := m.Disks.At(m.Disks.Standby)
	for _, kind := range []volume.Kind{volume.Image, volume.Directory} {
		found, err := d.Pool(kind).Found()
		if err != nil {
			return err
		}
		for _, home := range found {
			if home == Home(r.Spec.Instance, secondPlace) {
				r.Apart = &Site{Dir: d.Dir, Volume: kind}
				return nil
			}
		}
	}
	return nil
}

// LogFiles are those of the instance: what its nodes and its fronts say.
func (m *Machine) LogFiles(r Record) []string {
	files := []string{logOfFront(m.frontDir(r.Port)), logOfFront(m.readsDir(r.Port, r.ReadPort))}
	for _, p := range allPlaces() {
		files = append(files, m.logFile(r, p))
	}
	return files
}

// logFile is where an engine's standard error goes.
func (m *Machine) logFile(r Record, p Place) string {
	return filepath.Join(m.dir(r, p), "log", "engine.log")
}
