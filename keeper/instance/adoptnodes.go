package instance

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
)

// findPlace finds out where the node lies that served, of an instance whose record is lost: the one whose data is not
// fenced. It is Unavailable where that is not clear: the wrong one lacks what was committed.
func (r *Record) findPlace(m *Machine) error {
	var primaries, others []Place
	for _, p := range []Place{firstPlace, secondPlace} {
		found := *r
		found.Place = p
		found.Data = found.findData(m)
		if !found.anyData(m) {
			continue
		}
		fenced, err := found.isFenced(m)
		switch {
		case err != nil:
			return err
		case fenced:
			others = append(others, p)
		default:
			primaries = append(primaries, p)
		}
	}
	switch {
	case len(primaries) == 1:
		r.moveTo(primaries[0])
	case len(primaries) == 0 && len(others) == 1:
		r.moveTo(others[0])
		r.Promoting = true
		r.Failover = &backend.Failover{At: m.Now().UTC(), Why: "The data of a standby is all that was left. What was " +
			"written last may be lost."}
	case len(primaries)+len(others) > 0:
		return backstay.Errorf(backstay.Unavailable, "It is not clear which node of the instance served last: both look "+
			"alike. The operator moves the directory of the other one, instances/%s or instances/%s, aside.",
			Home(r.Spec.Instance, firstPlace), Home(r.Spec.Instance, secondPlace))
	}
	return nil
}

// isFenced tells whether the record's data is of a node that follows.
func (r Record) isFenced(m *Machine) (bool, error) {
	e, ok := m.Engines[r.Spec.Engine].(engine.Replicator)
	if !ok {
		return false, nil
	}
	n, err := m.nodeAt(r, r.Spec, r.Place, r.Data)
	if err != nil {
		return false, err
	}
	return e.IsFenced(n.Node)
}

// secondHasData tells whether there is data in the other place that may follow that of the node that served.
func (r Record) secondHasData(m *Machine) bool {
	_, err := os.Lstat(filepath.Join(m.dir(r, r.Place.other()), dataName(r.Data)))
	return err == nil
}

// findPorts finds the ports of nodes that run, by the directories of their sockets.
func (r *Record) findPorts(m *Machine) {
	if r.Second == nil {
		return
	}
	files, _ := filepath.Glob(filepath.Join(m.DataDir, "run", "*", "node.pid"))
	for _, path := range files {
		port, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		text, readErr := os.ReadFile(path)
		pid, pidErr := strconv.Atoi(strings.TrimSpace(string(text)))
		switch {
		case err != nil || readErr != nil || pidErr != nil:
		case process.WorksIn(pid, m.dir(*r, r.Place)):
			r.NodePort = port
		case process.WorksIn(pid, m.dir(*r, r.Place.other())):
			r.Second.Port = port
		default:
			for i := range r.Replicas {
				if process.WorksIn(pid, m.dir(*r, r.Replicas[i].Place)) {
					r.Replicas[i].Port = port
				}
			}
		}
	}
}
