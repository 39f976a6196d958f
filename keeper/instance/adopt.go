package instance

import (
	"context"
	"syscall"

	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// FirstSteps make the record of a new instance durable.
func FirstSteps(m *Machine, r Record) []step.Step {
	return []step.Step{{Name: specWritten, Do: func(context.Context) error { return m.Records.Save(r) }}}
}

// Adopted is the record of an instance that has served as r wants it, and whose own record is lost. What can be
// is taken from what is there: who owns the data, and what runs in its directory.
func (r Record) Adopted(ctx context.Context, m *Machine) Record {
	r.begin(r.Spec.Generation)
	r.Reached = r.Spec.Generation
	if found, err := m.Installed.Find(ctx, r.Spec.Engine, r.Spec.Version, r.Spec.Build); err == nil {
		r.Installation = found
	}
	n, err := m.node(r, r.Spec)
	if err != nil {
		return r // it is found out again by whoever keeps the instance
	}
	var data syscall.Stat_t
	if err := syscall.Lstat(n.DataDir, &data); err == nil && isOurUID(data.Uid) {
		r.UID = data.Uid
	}
	if n, err = m.node(r, r.Spec); err != nil {
		return r
	}
	if p, err := n.Find(); err == nil && p != nil {
		r.Program = node.ProgramOf(p.PID)
		p.Close()
	}
	return r
}
