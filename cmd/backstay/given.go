package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/broker"
)

// given is what the operator's files say, of a machine that has the addresses which the settings name.
type given struct {
	brought
	catalog broker.Catalog
	cluster *rest.Config // how that of Kubernetes is reached; nil: there is none
}

// readGiven reads the files and looks at the machine, before anything is made.
func readGiven(cfg *config, now time.Time) (g given, err error) {
	if g.catalog, err = cfg.loadCatalog(); err != nil {
		return g, err
	}
	if g.brought, err = openBrought(cfg, now); err != nil {
		return g, err
	}
	if g.cluster, err = cfg.kubernetes.read(); err != nil {
		return g, err
	}
	return g, checkListen(cfg.endpointListen)
}

// checkListen refuses an address that databases cannot listen on, because this machine does not have it.
func checkListen(address string) error {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err == nil {
		return l.Close()
	}
	return advise(fmt.Errorf("databases cannot listen on %s, which is no address of this machine: %w", address, err),
		"backstay serve --endpoint-listen 0.0.0.0, which is all addresses of this machine")
}

func (c *config) loadCatalog() (broker.Catalog, error) {
	if c.catalog == "" {
		return broker.ParseCatalog(nil)
	}
	document, err := os.ReadFile(c.catalog)
	if err != nil {
		return broker.Catalog{}, fmt.Errorf("read catalog: %w", err)
	}
	catalog, err := broker.ParseCatalog(document, slices.Sorted(maps.Keys(c.engines()))...)
	if err == nil {
		err = catalog.CheckBackends(c.backends()...)
	}
	if err != nil {
		return catalog, fmt.Errorf("%s: %w", c.catalog, err)
	}
	return catalog, nil
}

// keepAlone has the databases of a Backstay come up whose control plane cannot, for a file that is wrong: a
// certificate that has expired must not keep a machine that starts again from what it served before.
func keepAlone(ctx context.Context, cfg *config, log *slog.Logger) error {
	p := &platform{cfg: cfg, log: log}
	return p.startKeeper(ctx, local.New(cfg.data.keeperSocket()))
}
