package keeper

import (
	"cmp"
	"context"
	"errors"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/pki"
)

// change makes a Spec what is wanted of an instance that there is. Ports that it gets for that are held meanwhile.
func (k *Keeper) change(ctx context.Context, in *instance.Instance, spec backend.Spec) error {
	for {
		allotted, release, err := k.allotted(in, spec)
		if err != nil {
			return err
		}
		err = in.Apply(ctx, spec, allotted)
		if release(); !errors.Is(err, instance.ErrNodeGone) || ctx.Err() != nil {
			return err
		}
	}
}

// allotted is what the instance lacks for the Spec, held until release is called.
func (k *Keeper) allotted(in *instance.Instance, spec backend.Spec) (a *instance.Allotment, release func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := in.Record()
	if !r.Lacks(spec) {
		return nil, func() {}, nil
	}
	if a, err = k.allot(r, spec); err != nil {
		return nil, nil, err
	}
	k.allotting[in.ID] = a
	return a, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.allotting, in.ID)
	}, nil
}

// allot finds what the instance of a record takes besides for a Spec. k.mu is held.
func (k *Keeper) allot(r instance.Record, spec backend.Spec) (*instance.Allotment, error) {
	var a instance.Allotment
	held := r.Ports()
	next := func(port *int) (err error) {
		if *port, err = k.freePort(held...); err == nil {
			held = append(held, *port)
		}
		return err
	}
	if r.LacksSecond(spec) {
		link, err := pki.NewLink(string(spec.Instance), k.Now())
		if err != nil {
			return nil, err
		}
		a.Link = link
		if err := cmp.Or(next(&a.NodePort), next(&a.SecondPort)); err != nil {
			return nil, err
		}
	}
	a.ReplicaPorts = make([]int, r.LacksReplicas(spec))
	for i := range a.ReplicaPorts {
		if err := next(&a.ReplicaPorts[i]); err != nil {
			return nil, err
		}
	}
	return &a, nil
}

// giveReadPort has an instance have an address for reads, from the first one on who is to read from a replica.
func (k *Keeper) giveReadPort(ctx context.Context, in *instance.Instance) error {
	if err := in.MayRead(); err != nil || in.Record().ReadPort != 0 {
		return err
	}
	k.mu.Lock()
	port, err := k.freePort()
	if err != nil {
		k.mu.Unlock()
		return err
	}
	k.giving[port] = true
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.giving, port)
	}()
	return in.GiveReadPort(ctx, port)
}

// replicates tells whether an instance of the engine can have a standby here.
func (k *Keeper) replicates(name string) bool {
	_, follows := k.Engines[name].(engine.Replicator)
	return follows
}

func (k *Keeper) readsFromStandbys(name string) bool {
	_, reads := k.Engines[name].(engine.Reader)
	return reads
}
