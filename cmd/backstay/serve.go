package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/sender"
)

var serveUsage = `Usage: backstay serve [FLAGS]

Serves the Cloud Foundry API. It needs no flags: data lies under a directory of yours, everything
listens on loopback. The first start makes the user admin and shows the password, once.

` + configFlagUsage + new(cli).table().Help() + `
Settings of the data plane take effect when the keeper starts: after a change, "backstay stop" once.
`

// serve is serveUntil, for which it is no failure to be told to end: neither what that cuts off in the middle, nor a
// client that keeps its connection until our patience has ended.
func serve(ctx context.Context, c *cli, args []string) error {
	return serveAs(ctx, c, "serve", args)
}

// serveAs is serve, with the market or, as the command broker, without it.
func serveAs(ctx context.Context, c *cli, command string, args []string) error {
	err := serveUntil(ctx, c, command, args)
	if err == nil || ctx.Err() == nil {
		return err
	}
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintf(c.stderr, "backstay: %s was told to end, and left this: %v\n", command, err)
	}
	return nil
}

// serveUntil serves until ctx ends or it cannot go on.
func serveUntil(ctx context.Context, c *cli, command string, args []string) error {
	goLast()
	cfg, err := c.serveConfig(command, args)
	if err != nil {
		return err
	}
	if command == brokerCommand {
		cfg.withoutMarket()
	}
	if cfg.data.restoration() == restoringState {
		return advise(fmt.Errorf("the state database of %s is not restored yet", cfg.data),
			"backstay restore-platform, as before")
	}
	files, wrong := readGiven(cfg, time.Now())
	if wrong != nil && !cfg.data.hasServed() {
		return wrong
	}
	if err := c.makeDataDir(cfg.data); err != nil {
		return err
	}
	release, err := process.HoldPIDFile(cfg.data.servePID())
	if err != nil {
		return advise(fmt.Errorf("a Backstay is running on %s already: %w", cfg.data, err),
			"backstay stop --data %s", cfg.data)
	}
	defer release()
	doors, err := openDoors(ctx, cfg)
	if err != nil {
		return err
	}
	defer doors.close()
	log := slog.New(slog.NewTextHandler(c.stderr, nil))
	if wrong != nil {
		return errors.Join(wrong, keepAlone(ctx, cfg, log))
	}
	if err := cfg.makeRepository(files.catalog, log); err != nil {
		return err
	}
	p, err := wire(ctx, cfg, files, log)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.welcome(ctx, c); err != nil {
		return err
	}
	return p.run(ctx, doors)
}

// goLast has the kernel's out-of-memory killer take us last, and the keeper that we start, as far as our rights go: who
// is gone brings nothing up again.
func goLast() { _ = process.SetOutOfMemory(os.Getpid(), process.LastToGo) }

// forkPatience is how long a child of a Backstay that was killed as it forked may take to be another program,
// and let go of what it inherited.
const forkPatience = 2 * time.Second

func listen(ctx context.Context, address string) (net.Listener, error) {
	for deadline := time.Now().Add(forkPatience); ; {
		l, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// makeDataDir makes the directory that everything lies in. As root, databases run as users of their
// own and must be able to pass through it, though not to look around.
func (c *cli) makeDataDir(d dataDir) error {
	mode := os.FileMode(0o700)
	if c.root {
		mode = 0o711
	}
	if err := os.MkdirAll(string(d), mode); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	return os.Chmod(string(d), mode)
}

// welcome says how to log in. The password exists in clear here and nowhere else.
func (p *platform) welcome(ctx context.Context, c *cli) error {
	if p.cfg.noMarket {
		fmt.Fprintf(c.stdout, "Backstay serves the Open Service Broker API at %s\n"+
			"  let a platform in: backstay osb-client create NAME\n", p.cfg.osbURL())
		return nil
	}
	password, created, err := p.users.EnsureAdmin(ctx)
	if err != nil {
		return fmt.Errorf("make user admin: %w", err)
	}
	fmt.Fprintf(c.stdout, "Backstay serves %s\n  log in:   cf login -a %s -u admin\n", p.cfg.url, p.cfg.url)
	if p.cfg.osb.is() {
		fmt.Fprintf(c.stdout, "  to other platforms: %s\n", p.cfg.osbURL())
	}
	switch {
	case !created:
		fmt.Fprint(c.stdout, "  password: as shown at the first start (backstay admin-password makes another)\n")
	case p.cfg.passwordFile != "":
		if err := writeSecret(p.cfg.passwordFile, password); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "  password: in %s\n", p.cfg.passwordFile)
	default:
		fmt.Fprintf(c.stdout, "  password: %s   (shown this once)\n", password)
	}
	return nil
}

func writeSecret(path, secret string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	return atomicfile.Write(path, []byte(secret+"\n"), 0o600)
}

// run serves until ctx ends or a part of the control plane cannot go on. Databases keep running.
func (p *platform) run(ctx context.Context, d doors) error {
	g, ctx := errgroup.WithContext(ctx)
	if p.launcher != nil {
		g.Go(func() error { return p.launcher.Watch(ctx) })
	}
	if p.cluster != nil {
		g.Go(func() error { return p.cluster.Run(ctx) })
	}
	g.Go(func() error { return p.store.RunJobs(ctx, p.runners()) })
	g.Go(func() error { return p.broker.Run(ctx) })
	another := make(chan struct{}, 1)
	g.Go(func() error { return p.broker.KeepCertified(ctx, another) })
	g.Go(func() error { return p.given.watch(ctx, p.log, another) })
	g.Go(func() error { return p.market.ForgetRegularly(ctx, p.cfg.retention()) })
	g.Go(func() error { return p.tenants.Run(ctx) })
	if !p.cfg.noMarket {
		g.Go(func() error { return p.market.EndExpired(ctx) })
		g.Go(func() error { return p.market.Follow(ctx) })
		g.Go(func() error { return p.market.WatchCatalogs(ctx) })
		g.Go(func() error { return p.tunnels.Run(ctx) })
	}
	g.Go(func() error { return p.protectState(ctx) })
	g.Go(func() error { return p.keepNote(ctx) })
	g.Go(func() error { return p.serveHTTP(ctx, d.api, p.handler(ctx)) })
	if d.osb != nil {
		g.Go(func() error { return p.serveHTTP(ctx, d.osb, p.osbHandler(ctx, "")) })
	}
	return g.Wait()
}

func (p *platform) serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler: sender.Behind(p.cfg.proxies, h), TLSConfig: p.tls,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- s.Shutdown(grace)
	})
	var err error
	if p.tls != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if stop() {
		return fmt.Errorf("serve API: %w", err)
	}
	return <-stopped
}
