package keeper

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/pki"
)

// change makes a Spec what is wanted of an instance that there is. Ports that it gets for that are held meanwhile.
func (k *Keeper) change(ctx context.Context, in *instance.Instance, spec backend.Spec) error {
	allotted, release, err := k.allotted(in, spec)
	if err != nil {
		return err
	}
	defer release()
	return in.Apply(ctx, spec, allotted)
}

// allotted is what the instance lacks for the Spec, held until release is called.
func (k *Keeper) allotted(in *instance.Instance, spec backend.Spec) (a *instance.Allotment, release func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !in.Record().LacksSecond(spec) {
		return nil, func() {}, nil
	}
	if a, err = k.allot(in.ID); err != nil {
		return nil, nil, err
	}
	k.allotting[in.ID] = a
	return a, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.allotting, in.ID)
	}, nil
}

// allot finds what an instance of two takes besides. k.mu is held.
func (k *Keeper) allot(id backstay.InstanceID, held ...int) (*instance.Allotment, error) {
	var a instance.Allotment
	link, err := pki.NewLink(string(id), k.Now())
	if err != nil {
		return nil, err
	}
	a.Link = link
	if a.NodePort, err = k.freePort(held...); err != nil {
		return nil, err
	}
	a.SecondPort, err = k.freePort(append(held, a.NodePort)...)
	return &a, err
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
