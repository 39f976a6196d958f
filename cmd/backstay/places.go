package main

import (
	"cmp"
	"context"
	"flag"
	"log/slog"
	"maps"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/backend/local"
)

// clusterUsage is for commands that look for instances where serve keeps them.
const clusterUsage = `Instances on Kubernetes are known with the settings of serve for these: with --config and its
file, or with --kubeconfig and the other flags that serve was given.
`

// clusterNames are the settings that lead to instances on Kubernetes, and to what is kept of them.
func clusterNames() (names []string) {
	for _, s := range kubernetesSettings() {
		names = append(names, s.Name)
	}
	return names
}

// instancePlace is where instances live, and where their backups are known.
type instancePlace interface {
	backend.Backend
	backend.Archive
	// Look is the status of an instance as it is now.
	Look(ctx context.Context, id backstay.InstanceID) (backend.Status, error)
	// Drills are those that have ended last, of each instance that had one.
	Drills(ctx context.Context) (map[backstay.InstanceID][]backend.Drill, error)
}

// places are all of them, this machine first.
type places []instancePlace

// places leads to the instances beside a serve that may run, and to the cluster of Kubernetes, if there is one.
func (c *cli) places(ctx context.Context, cfg *config) (all places, cluster *kubernetes.Backend) {
	all = places{local.New(cfg.data.keeperSocket())}
	way, err := cfg.kubernetes.read()
	if err == nil {
		cluster, err = cfg.kubernetes.open(cfg, way, slog.New(slog.NewTextHandler(c.stderr, nil)))
	}
	if err == nil && cluster == nil {
		return all, nil
	}
	if err == nil {
		err = cluster.Read(ctx)
	}
	if err != nil {
		return append(all, away{why: err}), cluster
	}
	return append(all, cluster), cluster
}

// of is where an instance is known, or was; this machine where it is nowhere. Whether it is known is asked first: what
// is kept of it may have to be listed in an object store.
func (p places) of(ctx context.Context, id backstay.InstanceID) instancePlace {
	for _, place := range p {
		if _, err := place.Await(ctx, id, 0); backstay.KindOf(err) != backstay.NotFound {
			return place
		}
		if _, err := place.Backups(ctx, id); backstay.KindOf(err) != backstay.NotFound {
			return place
		}
	}
	return p[0]
}

// backups lists all that is kept. Where one of the places does not tell, that of the others is listed nevertheless.
func (p places) backups(ctx context.Context) (all []backend.Backups, missing error) {
	for _, place := range p {
		kept, err := place.AllBackups(ctx)
		all = append(all, kept...)
		if missing == nil {
			missing = err
		}
	}
	return all, missing
}

// drills are those of all places. Where one of these does not tell, those of the others are there nevertheless.
func (p places) drills(ctx context.Context) (held map[backstay.InstanceID][]backend.Drill, missing error) {
	held = map[backstay.InstanceID][]backend.Drill{}
	for _, place := range p {
		its, err := place.Drills(ctx)
		maps.Copy(held, its)
		missing = cmp.Or(missing, err)
	}
	return held, missing
}

// away is a place that cannot be asked.
type away struct {
	instancePlace
	why error
}

func (a away) Backups(context.Context, backstay.InstanceID) (backend.Backups, error) {
	return backend.Backups{}, a.why
}

func (a away) AllBackups(context.Context) ([]backend.Backups, error) { return nil, a.why }

func (a away) Prove(context.Context, backstay.InstanceID) (backend.Proof, error) {
	return backend.Proof{}, a.why
}

func (a away) Await(context.Context, backstay.InstanceID, int64) (backend.Status, error) {
	return backend.Status{}, a.why
}

func (a away) Look(context.Context, backstay.InstanceID) (backend.Status, error) {
	return backend.Status{}, a.why
}

func (a away) Drills(context.Context) (map[backstay.InstanceID][]backend.Drill, error) {
	return nil, a.why
}

// parseInstance reads the flags and the one operand of a command about an instance, wherever that lives.
func (c *cli) parseInstance(
	ctx context.Context, fs *flag.FlagSet, args []string,
) (id backstay.InstanceID, at instancePlace, err error) {
	read := c.configFlags(fs, append(clusterNames(), dataSetting)...)
	operands, err := parseOperands(fs, args, "the guid of a service instance")
	if err != nil {
		return "", nil, err
	}
	cfg, err := read()
	if err != nil {
		return "", nil, err
	}
	id = backstay.InstanceID(operands[0])
	all, _ := c.places(ctx, cfg)
	return id, all.of(ctx, id), nil
}
