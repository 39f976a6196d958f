package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/sender"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/tunnel"
)

const serveUsage = `Usage: backstay serve [FLAGS]

Serves the Cloud Foundry API. It needs no flags: data lies under a directory of yours, everything
listens on loopback. The first start makes the user admin and shows the password, once.

` + dataUsage + `  --listen HOST:PORT        where the API listens (default 127.0.0.1:7480)
  --url URL                 how users reach the API, if not by that address
  --tls                     serve the API over TLS, with a certificate of this Backstay's authority
  --tls-certificate FILE    serve the API over TLS, with this certificate chain (PEM) …
  --tls-key FILE            … and its key
  --catalog FILE            offer what this YAML file says, instead of what is built in
  --database-url URL        keep state in this PostgreSQL database, instead of a private one
  --audit-days N            keep audit events for so long (default 31)
  --usage-days N            keep what was used for so long (default 400)
  --trusted-proxy NET,…     believe what these addresses or networks say in X-Forwarded-For
  --admin-password-file F   write the first password of admin to this file, instead of showing it
  --plugins DIR             where the plugins of cf lie that users can install (default: beside this program)
  --conduit-grace DURATION  how long credentials that cf conduit made outlive its connection (default 1m0s)
` + keeperUsage

type serveConfig struct {
	data              dataDir
	listen, url       string
	tls               bool
	certificate, key  string
	catalog, database string
	passwordFile      string
	auditDays         int
	usageDays         int
	proxies           []netip.Prefix
	plugins           string
	grace             time.Duration
	keeper            keeperFlags
}

// serveConfig reads the flags of serve, for the command that they were given to.
func (c *cli) serveConfig(command string, args []string) (s serveConfig, err error) {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	dir := c.dataFlag(fs)
	fs.StringVar(&s.listen, "listen", fmt.Sprintf("127.0.0.1:%d", defaultPort), "")
	fs.StringVar(&s.url, "url", "", "")
	fs.BoolVar(&s.tls, "tls", false, "")
	fs.StringVar(&s.certificate, "tls-certificate", "", "")
	fs.StringVar(&s.key, "tls-key", "", "")
	fs.StringVar(&s.catalog, "catalog", "", "")
	fs.StringVar(&s.database, "database-url", "", "")
	fs.StringVar(&s.passwordFile, "admin-password-file", "", "")
	fs.IntVar(&s.auditDays, "audit-days", int(market.DefaultRetention.Events/market.Day), "")
	fs.IntVar(&s.usageDays, "usage-days", int(market.DefaultRetention.Usage/market.Day), "")
	fs.Func("trusted-proxy", "", func(text string) (err error) {
		s.proxies, err = sender.ParsePrefixes(text)
		return err
	})
	fs.StringVar(&s.plugins, "plugins", besideProgram("plugins"), "")
	fs.DurationVar(&s.grace, "conduit-grace", tunnel.DefaultLease, "")
	s.keeper.add(fs)
	if err := parseAll(fs, args); err != nil {
		return s, err
	}
	if s.data, err = dir(); err != nil {
		return s, err
	}
	return s, s.check()
}

// besideProgram is the path of what is installed in the directory of this program.
func besideProgram(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

func (s *serveConfig) check() error {
	if (s.certificate == "") != (s.key == "") {
		return usagef("--tls-certificate and --tls-key belong together.")
	}
	if s.certificate != "" {
		s.tls = true
	}
	if s.grace < time.Second {
		return usagef("--conduit-grace %v is less than a second.", s.grace)
	}
	for name, days := range map[string]int{"--audit-days": s.auditDays, "--usage-days": s.usageDays} {
		if days < 1 || days > maxDays {
			return usagef("%s must be between 1 and %d.", name, maxDays)
		}
	}
	if _, err := keeper.ParsePortRange(s.keeper.ports); err != nil {
		return usagef("--ports: %v.", err)
	}
	host, port, err := net.SplitHostPort(s.listen)
	if err != nil {
		return usagef("--listen %q is not HOST:PORT.", s.listen)
	}
	if s.url == "" {
		scheme := "http"
		if s.tls {
			scheme = "https"
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = s.keeper.host
		}
		s.url = scheme + "://" + net.JoinHostPort(host, port)
	}
	return nil
}

// maxDays is what retention can count to: a century.
const maxDays = 36500

func (s *serveConfig) retention() market.Retention {
	return market.Retention{Events: time.Duration(s.auditDays) * market.Day, Usage: time.Duration(s.usageDays) * market.Day}
}

func serve(ctx context.Context, c *cli, args []string) error {
	cfg, err := c.serveConfig("serve", args)
	if err != nil {
		return err
	}
	if err := c.makeDataDir(cfg.data); err != nil {
		return err
	}
	release, err := holdPIDFile(cfg.data.servePID())
	if err != nil {
		return advise(fmt.Errorf("a Backstay is running on %s already: %w", cfg.data, err), "backstay stop --data %s", cfg.data)
	}
	defer release()
	l, err := listen(ctx, cfg.listen)
	if err != nil {
		return advise(fmt.Errorf("the API cannot listen: %w", err), "backstay serve --listen 127.0.0.1:PORT, with a free port")
	}
	defer l.Close()
	log := slog.New(slog.NewTextHandler(c.stderr, nil))
	p, err := wire(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.welcome(ctx, c); err != nil {
		return err
	}
	return p.run(ctx, l)
}

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
	password, created, err := p.users.EnsureAdmin(ctx)
	if err != nil {
		return fmt.Errorf("make user admin: %w", err)
	}
	fmt.Fprintf(c.stdout, "Backstay serves %s\n  log in:   cf login -a %s -u admin\n", p.cfg.url, p.cfg.url)
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
func (p *platform) run(ctx context.Context, l net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	if p.launcher != nil {
		g.Go(func() error { return p.launcher.Watch(ctx) })
	}
	g.Go(func() error { return p.store.RunJobs(ctx, p.runners()) })
	g.Go(func() error { return p.broker.Run(ctx) })
	g.Go(func() error { return p.market.ForgetRegularly(ctx, p.cfg.retention(), time.Now) })
	g.Go(func() error { return p.market.EndExpired(ctx) })
	g.Go(func() error { return p.tunnels.Run(ctx) })
	g.Go(func() error { return p.serveHTTP(ctx, l) })
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (p *platform) serveHTTP(ctx context.Context, l net.Listener) error {
	s := &http.Server{
		Handler: p.handler(), TLSConfig: p.tls, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
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
