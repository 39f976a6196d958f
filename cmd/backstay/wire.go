package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/cfapi"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/opensearch"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/osb"
	"github.com/backstay/backstay/pki"
	"github.com/backstay/backstay/plugins"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/tenant"
	"github.com/backstay/backstay/tunnel"
	"github.com/backstay/backstay/uaa"
)

// engines are the products that this binary knows, and where it looks for them.
func (c *config) engines() map[string]engine.Engine {
	return map[string]engine.Engine{
		"postgres":   postgres.Engine{Roots: c.postgresDirs},
		"mysql":      mysql.Engine{Roots: c.mysqlDirs},
		"redis":      redis.Engine{Dirs: c.redisDirs},
		"mongodb":    mongodb.Engine{Roots: c.mongodbDirs, Front: []string{ourProgram(), mongodbFront}},
		"opensearch": opensearch.Engine{Homes: c.opensearchDirs, Front: []string{ourProgram(), opensearchFront}},
	}
}

// ownBroker is what the market calls the broker of this house. New databases know it under this id.
var ownBroker = backstay.ServiceBroker{ID: "2f0b5b39-6a0e-4c3d-9f57-8c2c1f3b7a10", Name: "backstay"}

// platform is the control plane, put together.
type platform struct {
	cfg      *config
	given    given
	log      *slog.Logger
	launcher *local.Launcher
	cluster  *kubernetes.Backend // nil: there is none
	store    *state.Store
	broker   *broker.Broker
	market   *market.Market
	tenants  *tenant.Registry // other platforms that the broker is served to
	users    *uaa.Server
	api      *cfapi.Server
	tunnels  *tunnel.Server
	plugins  *plugins.Repository
	tls      *tls.Config // nil: plain HTTP

	SealingKey seal.Key  // that opens Keys; exported so that fmt finds the methods that redact it
	Keys       seal.Ring // that all is sealed with
}

// wire puts the control plane together from the keeper upwards. What it starts by the way (the
// keeper, the state database) is meant to outlive us.
func wire(ctx context.Context, cfg *config, files given, log *slog.Logger) (*platform, error) {
	p := &platform{cfg: cfg, given: files, log: log}
	instances := local.New(cfg.data.keeperSocket())
	if err := p.awaitBack(ctx, func() (err error) {
		p.SealingKey, p.Keys, err = cfg.ensureKeys(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	if err := p.startKeeper(ctx, instances); err != nil {
		return nil, err
	}
	if err := p.openStore(ctx, instances); err != nil {
		return nil, err
	}
	if err := p.build(ctx, instances); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *platform) close() { p.store.Close() }

func (p *platform) startKeeper(ctx context.Context, instances *local.Backend) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find our own program: %w", err)
	}
	executable, err := process.Executable()
	if err != nil {
		return err
	}
	p.launcher = &local.Launcher{
		Backend: instances, Program: process.Self(), Command: append([]string{self}, p.cfg.keepArgs...),
		LogPath: filepath.Join(string(p.cfg.data), "keeper.log"), Executable: executable,
		Told: p.cfg.told, Log: p.log,
		HandOver: p.handOver,
	}
	if err := p.launcher.Ensure(ctx); err != nil {
		return fmt.Errorf("start keeper: %w", err)
	}
	return nil
}

func (p *platform) build(ctx context.Context, instances *local.Backend) error {
	key := p.Keys.State
	authority, err := pki.LoadOrCreate(ctx, p.store, key)
	if err != nil {
		return fmt.Errorf("open what is sealed in the state database with the sealing key %s: %w", p.cfg.SealKey, err)
	}
	if err := p.keepKeys(ctx); err != nil {
		return fmt.Errorf("keep the keys of this Backstay: %w", err)
	}
	// For "backstay trust", and for users of an API that has a certificate of ours: nothing in it is secret.
	if err := atomicfile.Write(p.cfg.data.authority(), []byte(authority.PEM()), 0o644); err != nil {
		return err
	}
	if err := p.prepareTLS(authority); err != nil {
		return err
	}
	p.users = &uaa.Server{Store: p.store, Key: key, Issuer: p.cfg.url, Log: p.log}
	if p.cluster, err = p.cfg.kubernetes.open(p.cfg, p.given.cluster, p.log); err != nil {
		return err
	}
	backends := withCluster(map[string]backend.Backend{broker.Local: instances}, p.cluster)
	p.broker = &broker.Broker{Store: p.store.Broker(), Backends: backends,
		Certifier: p.given.certifier(authority), Offered: p.given.catalog, Key: key, Now: time.Now, Log: p.log,
		Drills: p.cfg.drills, Restoration: p.restoration()}
	p.market = &market.Market{
		Store: p.store, Brokers: market.Brokers{ownBroker.ID: p.broker}, Key: key, Log: p.log,
		Open: p.cfg.registered().Open, TunnelNetworks: p.cfg.tunnelNetworks,
	}
	p.tenants = &tenant.Registry{Store: p.store.Tenants(), Broker: p.broker, Now: time.Now, Log: p.log}
	p.api = &cfapi.Server{Market: p.market, Authenticator: p.users, URL: p.cfg.url, Version: buildVersion(), Log: p.log}
	p.tunnels = &tunnel.Server{Authenticator: p.users, Gate: p.market, Lease: p.cfg.grace, Log: p.log}
	p.plugins = &plugins.Repository{Dir: p.cfg.plugins, URL: p.cfg.url + plugins.Path, Version: buildVersion(),
		Log: p.log}
	if p.cfg.noMarket {
		return nil
	}
	if err := p.market.KeepCatalog(ctx, ownBroker); err != nil {
		return fmt.Errorf("put the catalog on sale: %w", err)
	}
	return nil
}

// registered are the brokers that users register.
func (c *config) registered() *osb.Pool { return &osb.Pool{Networks: c.spaceBrokerNetworks} }

// restoration is that of a platform that has been restored, until all of its instances are back; nil: there is none.
func (p *platform) restoration() *broker.Restoration {
	if p.cfg.data.restoration() != restoringInstances {
		return nil
	}
	return &broker.Restoration{End: func() error { return atomicfile.Remove(p.cfg.data.restorationFile()) }}
}

func (p *platform) runners() state.Runners {
	return state.Runners{Market: p.market.Work, Broker: p.broker.Work}
}

// handler is every door on the one address.
func (p *platform) handler(ctx context.Context) http.Handler {
	if p.cfg.noMarket {
		return p.osbHandler(ctx, p.cfg.osb.path)
	}
	mux := http.NewServeMux()
	mux.Handle("/", p.api.Handler())
	users := p.users.Handler()
	for _, path := range []string{
		"/login", "/info", "/userinfo", "/oauth/", "/token_key", "/token_keys", "/Users", "/Users/",
	} {
		mux.Handle(path, users)
	}
	mux.Handle("GET "+tunnel.Path, p.tunnels)
	mux.Handle(plugins.Path+"/", http.StripPrefix(plugins.Path, p.plugins.Handler()))
	if p.cfg.osb.path == "" {
		return mux
	}
	return inFront(p.cfg.osb.path+"/v2/", p.osbHandler(ctx, p.cfg.osb.path), mux)
}
