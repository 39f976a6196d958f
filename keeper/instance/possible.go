package instance

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// possiblePatience is how long somebody who asks whether a Spec is possible waits for the engine's check.
const possiblePatience = 5 * time.Second

// Possible refuses a Spec that the instance could never be brought to: for want of an installation, or because its
// engine's check says so. What may still become possible, and what cannot be found out in time, is not refused.
func (in *Instance) Possible(ctx context.Context, spec backend.Spec) error {
	r := in.Record()
	if spec.TLS.Leaf == "" {
		spec.TLS = r.Spec.TLS // who asks need not have made another
	}
	if now := r.Installation; now.Version != spec.Version || spec.Build != "" && spec.Build != now.FullVersion {
		found, err := in.m.Installed.Find(ctx, spec.Engine, spec.Version, spec.Build)
		if err != nil {
			return onlyFinal(err)
		}
		r.Installation = found
	}
	if err := in.dataOf(&r, spec); err != nil {
		return err
	}
	return onlyFinal(in.m.check(ctx, r, spec))
}

// dataOf has r use the data that the instance would use with the Spec. Whether data can be upgraded is found out by
// whoever carries the Spec out: it takes longer than somebody waits.
func (in *Instance) dataOf(r *Record, spec backend.Spec) error {
	n, err := in.m.node(*r, r.Spec)
	if err != nil || n.Engine == nil {
		return nil
	}
	laid := in.versionOfData(n)
	then := *r
	then.want(spec)
	if err := then.canRollBack(spec.Generation, laid); err != nil {
		return err
	}
	if then.way(spec.Generation, laid) != byUpgrade || engine.CompareVersions(laid, spec.Version) < 0 {
		r.Data = then.dataFor(spec.Generation, laid)
	}
	return nil
}

// PossibleAnew is Possible for an instance that is not there yet, without a port and a certificate. r has the user
// that it may get. That nothing of its version is installed may change, and is told once it is to start.
func (m *Machine) PossibleAnew(ctx context.Context, r Record, spec backend.Spec) error {
	found, err := m.Installed.Find(ctx, spec.Engine, spec.Version, spec.Build)
	if err != nil {
		return nil
	}
	r.Installation = found
	return onlyFinal(m.passed.once(fmt.Sprintf("%q %v %s", found.Dir, spec.Size, spec.Settings), func() error {
		return m.check(ctx, r, spec)
	}))
}

// passes remembers what was found possible for a new instance: most are like one before, and an engine takes its time
// to read its configuration. The zero passes remembers nothing yet.
type passes struct {
	mu    sync.Mutex
	known map[string]bool
}

// once does check unless it has passed under that name before.
func (p *passes) once(name string, check func() error) error {
	p.mu.Lock()
	known := p.known[name]
	p.mu.Unlock()
	if known {
		return nil
	}
	if err := check(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) > 1000 || p.known == nil { // tenants give what settings they like
		p.known = map[string]bool{}
	}
	p.known[name] = true
	return nil
}

func (m *Machine) check(ctx context.Context, r Record, spec backend.Spec) error {
	n, err := m.node(r, spec)
	if err != nil || n.Engine == nil {
		return nil // it is found out by whoever carries the Spec out
	}
	ctx, cancel := context.WithTimeout(ctx, possiblePatience)
	defer cancel()
	return n.Engine.Check(ctx, n.Node)
}

// onlyFinal is err where only another Spec can help.
func onlyFinal(err error) error {
	if kind := backstay.KindOf(err); kind == backstay.Unsupported || kind == backstay.Invalid {
		return err
	}
	return nil
}
