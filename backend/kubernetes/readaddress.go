package kubernetes

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/pki"
)

// readName is the name inside the cluster by which an instance is read from.
func (c *Config) readName(id backstay.InstanceID) string {
	return nameOf(id) + readsSuffix + "." + c.Namespace + ".svc"
}

// readHost is the name of an instance's load balancer for reads, where it has a load balancer.
func (r record) readHost() string {
	if r.Host == "" {
		return ""
	}
	name := nameOf(r.Spec.Instance)
	return name + readsSuffix + strings.TrimPrefix(r.Host, name)
}

// readNames are those by which who reads may reach an instance, once somebody is given an address for that: they are in
// the certificate before, so that nobody has to wait for another one.
func (b *Backend) readNames(r record, s backend.Spec) (names []string) {
	if _, reads := b.Engines[s.Engine].(engine.HostedReader); !reads || s.Private {
		return nil
	}
	if host := r.readHost(); host != "" {
		names = append(names, host)
	}
	inside := b.readName(s.Instance)
	return append(names, inside, inside+".cluster.local")
}

// reads is what credentials of those name who read; zero: nobody was given any yet.
func (c *Config) reads(r record) backstay.Endpoint {
	switch {
	case !r.Reads.Given || r.Spec.Private:
		return backstay.Endpoint{}
	case r.Reads.Host != "":
		return backstay.Endpoint{Host: r.Reads.Host, Port: serverPort}
	case c.Exposure.byNode() && r.Reads.Port > 0:
		return backstay.Endpoint{Host: c.Exposure.Host, Port: r.Reads.Port}
	}
	return backstay.Endpoint{Host: c.readName(r.Spec.Instance), Port: serverPort}
}

// readsAgain is where an instance was read from whose record is lost. A port that another one has by now is not held:
// reads have no address then until somebody is given another one. The caller holds ports.
func (b *Backend) readsAgain(r record) reading {
	if r.Spec.Served == nil || r.Spec.Served.Reads == (backstay.Endpoint{}) {
		return reading{}
	}
	again := reading{Given: true, Host: r.readHost()}
	if r.Port > 0 {
		again.Port = r.Spec.Served.Reads.Port
		if b.takenPorts()[again.Port] {
			return reading{}
		}
	}
	return again
}

// mayRead is Unsupported if the instance has nobody to read from but its primary, and had nobody before. What it had
// once stays an address.
func (in *instance) mayRead(r record) error {
	_, reads := in.b.Engines[r.Spec.Engine].(engine.HostedReader)
	if reads && in.b.Forwards != nil && r.Spec.Nodes > 1 && r.Spec.Reading.Standby() || r.Reads.Given {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported, "Instance %s has no replica to read from.", in.id)
}

// giveReads has an instance have an address for reads, from the first one on who is to read from a replica.
func (in *instance) giveReads(ctx context.Context) error {
	r, _ := in.known()
	if err := in.mayRead(r); err != nil || r.Reads.Given {
		return err
	}
	in.b.ports.Lock()
	defer in.b.ports.Unlock()
	given, err := in.newReads(ctx, r)
	if err != nil {
		return err
	}
	_, err = in.amend(ctx, func(r record) record {
		if !r.Reads.Given && !r.Removing {
			r.Reads = given
		}
		return r
	})
	if err == nil {
		in.wake()
		in.leadReads()
	}
	return err
}

// newReads is an address that is free, and that the instance's certificate proves. The caller holds ports.
func (in *instance) newReads(ctx context.Context, r record) (given reading, err error) {
	for {
		given = reading{Given: true, Host: r.readHost()}
		if r.Port > 0 {
			if given.Port, err = in.b.nextPort(); err != nil {
				return given, err
			}
		}
		r.Reads = given
		if !slices.Contains(pki.NamesOf(r.standing().TLS), in.b.reads(r).Host) {
			return given, backstay.Errorf(backstay.Unavailable, "The service instance has no certificate yet for the "+
				"address for reads: it is about to be given one.")
		}
		w, err := in.b.wishFor(r, r.standing())
		if err != nil {
			return given, err
		}
		err = in.b.apply(ctx, w.readService(), true)
		if !errors.Is(err, errTaken) {
			return given, err
		}
		in.b.avoided[given.Port] = true
	}
}

// awaitReads returns once who has just been given the address for reads gets in there.
func (in *instance) awaitReads(ctx context.Context, r record) error {
	w, err := in.b.wishFor(r, r.standing())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, comingUp)
	defer cancel()
	_, way := in.into(r, w)
	way.reads = true
	in.readers.wake()
	err = wait.Until(ctx, wait.Growing(50*time.Millisecond, time.Second), func() (again bool, err error) {
		limited, cancel := context.WithTimeout(ctx, hearing)
		defer cancel()
		if len(in.readers.tell().to) > 0 {
			conn, err := way.dial(limited)
			if err == nil {
				return false, conn.Close()
			}
		}
		return true, backstay.Errorf(backstay.Unavailable, "The address for reads does not answer yet.")
	})
	return err
}

// catchingUp is how long a node that follows may take to know of a user, while somebody waits for that. Those who read
// from it pay for what is too short: their sessions are ended.
const catchingUp = hearing

// catchUpReaders returns once the nodes that follow know a user that was made, or have no session any more of one that
// was dropped. One that does not come to that in time is not read from until it does, and its sessions are ended.
func (in *instance) catchUpReaders(ctx context.Context, r record) error {
	if !r.Reads.Given {
		return nil
	}
	c, err := in.company(r)
	if err != nil || c.reader == nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, catchingUp)
	defer cancel()
	var mu sync.Mutex
	var behind []pod
	var asked sync.WaitGroup
	for p, n := range c.followers {
		asked.Go(func() {
			if err := in.catchUpNode(limited, c, p, n, 0); err != nil {
				in.b.Log.Info("a node that follows was not told of a user", "instance", in.id, "node", p.Name, "error", err)
				mu.Lock()
				defer mu.Unlock()
				behind = append(behind, p)
			}
		})
	}
	asked.Wait()
	if len(behind) == 0 {
		return nil
	}
	return in.shutReaders(ctx, behind)
}

// shutReaders has nobody read from these nodes until they have come to what they have to know of users. The machines of
// the cluster hear of it a moment later: who came until then is ended as well.
func (in *instance) shutReaders(ctx context.Context, behind []pod) error {
	if len(behind) == 0 {
		return nil
	}
	rd := &in.readers
	rd.mu.Lock()
	for _, p := range behind {
		rd.of(p).behind++
	}
	rd.mu.Unlock()
	defer rd.wake()
	for range 2 {
		if err := in.direct(ctx); err != nil {
			return err
		}
		if err := wait.Pause(ctx, readsPause/2); err != nil {
			return err
		}
	}
	return nil
}

// holdReaders has nobody read from any node that follows before the users are dropped that are to be dropped once the
// primary serves again.
func (in *instance) holdReaders(ctx context.Context, r record) error {
	if !r.Reads.Given {
		return nil
	}
	v := in.b.view(in.id)
	return in.shutReaders(ctx, slices.DeleteFunc(v.Nodes, func(p pod) bool { return p.Name == v.Primary || p.ID == "" }))
}
