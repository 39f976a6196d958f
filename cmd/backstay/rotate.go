package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/pki"
	"github.com/backstay/backstay/uaa"
)

var rotateUsage = `Usage: backstay rotate-credentials [INSTANCE] [FLAGS]

Gives a Backstay that runs other secrets of its own, and says which: for the service instance with that guid
("cf service NAME --guid" shows it), or for all of them, the administrator's password, where the engine has one, and
the key of the endpoint's certificate; for all, also the key that logins are signed with. No session ends, and
nobody is logged out. What was interrupted can be typed again.

Credentials of apps are changed by binding anew and unbinding, those of users and clients by "backstay user
new-password" and "backstay client rotate-secret". The sealing key and the authority stay.

` + stateUsage

func rotateCredentials(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("rotate-credentials", flag.ContinueOnError)
	read := c.configFlags(fs, stateNames...)
	id, err := parseOptional(fs, args, "the guid of a service instance")
	if err != nil {
		return err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	r, err := c.newRotator(ctx, cfg)
	if err != nil {
		return err
	}
	defer r.close()
	if id != "" {
		return r.rotate(ctx, []backstay.InstanceID{backstay.InstanceID(id)})
	}
	if err := r.users.RotateKey(ctx); err != nil {
		return fmt.Errorf("make another key to sign logins with: %w", err)
	}
	fmt.Fprintln(c.stdout, "Logins are signed with another key.")
	held, err := r.instances.Held(ctx)
	if err != nil {
		return err
	}
	delete(held, stateInstance) // which is reached by its Unix socket alone
	return r.rotate(ctx, slices.Sorted(maps.Keys(held)))
}

// rotator is what of a control plane can work beside the one that runs.
type rotator struct {
	*cli
	instances *local.Backend
	broker    *broker.Broker
	users     *uaa.Server
	close     func()
}

func (c *cli) newRotator(ctx context.Context, cfg *config) (*rotator, error) {
	store, err := c.openRunning(ctx, cfg)
	if err != nil {
		return nil, err
	}
	_, keys, err := cfg.openKeys(ctx)
	if err != nil {
		store.Close()
		return nil, err
	}
	authority, err := pki.LoadOrCreate(ctx, store, keys.State)
	if err != nil {
		store.Close()
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(c.stderr, nil))
	r := &rotator{cli: c, instances: local.New(cfg.data.keeperSocket()), close: store.Close}
	r.users = &uaa.Server{Store: store, Key: keys.State, Log: log}
	r.broker = &broker.Broker{Store: store.Broker(), Backends: map[string]backend.Backend{broker.Local: r.instances},
		Certifier: authority, Key: keys.State, Now: time.Now, Log: log}
	return r, nil
}

// rotate goes on with the others where one instance cannot be helped now, and says so.
func (r *rotator) rotate(ctx context.Context, ids []backstay.InstanceID) error {
	left := 0
	for _, id := range ids {
		if err := r.rotateInstance(ctx, id); err != nil {
			left++
			fmt.Fprintf(r.stdout, "%s: not done: %s\n", id, backstay.SentenceOf(err))
		}
	}
	if left > 0 {
		return advise(fmt.Errorf("service instances that are left as they were, or half done: %d", left),
			"backstay rotate-credentials, once they serve")
	}
	return nil
}

func (r *rotator) rotateInstance(ctx context.Context, id backstay.InstanceID) error {
	if err := r.rotateCertificate(ctx, id); err != nil {
		return err
	}
	has, err := r.instances.Rotate(ctx, id)
	if err != nil {
		return err
	}
	said := "its administrator needs no password"
	if has {
		said = "its administrator has another password"
	}
	fmt.Fprintf(r.stdout, "%s: %s.\n", id, said)
	return nil
}

func (r *rotator) rotateCertificate(ctx context.Context, id backstay.InstanceID) error {
	key, err := r.broker.RotateCertificate(ctx, id)
	if backstay.KindOf(err) == backstay.Unsupported {
		fmt.Fprintf(r.stdout, "%s: %s\n", id, backstay.SentenceOf(err))
		return nil
	}
	if err != nil {
		return err
	}
	ask := backstay.LastOperationRequest{InstanceID: id, Operation: key}
	op, err := r.broker.LastOperation(ctx, ask)
	for err == nil && op.State == backstay.InProgress {
		op, err = r.broker.AwaitOperation(ctx, ask, op)
	}
	if err == nil && op.State == backstay.Failed {
		err = backstay.Errorf(backstay.Unavailable, "%s", op.Description)
	}
	if err == nil {
		fmt.Fprintf(r.stdout, "%s: its certificate has another key.\n", id)
	}
	return err
}
