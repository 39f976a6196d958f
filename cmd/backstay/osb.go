package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/sender"
	"github.com/backstay/backstay/internal/settings"
	"github.com/backstay/backstay/osb"
)

const osbSetting = "osb"

// osbPlace is where other platforms find the broker: below a path of the API, or at an address of its own. The zero
// one is nowhere.
type osbPlace struct{ path, listen string }

func (o osbPlace) is() bool { return o != (osbPlace{}) }

var osbPath = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`)

func parseOSBPlace(text string) (osbPlace, error) {
	if strings.HasPrefix(text, "/") {
		if !osbPath.MatchString(text) || path.Clean(text) != text {
			return osbPlace{}, errors.New("is not a path of the API, as in /osb")
		}
		return osbPlace{path: text}, nil
	}
	if _, _, err := net.SplitHostPort(text); err != nil {
		return osbPlace{}, errors.New("is neither a path nor HOST:PORT, as in /osb or 127.0.0.1:7481")
	}
	return osbPlace{listen: text}, nil
}

// completeOSB returns what does not go together.
func (c *config) completeOSB() settings.Mistakes {
	if c.osb.listen != "" && c.osb.listen == c.listen {
		return settings.Mistakes{"--osb is the address of --listen: want another one, or a path, as in /osb."}
	}
	return nil
}

// withoutMarket has the API's address be the broker's, or the broker's be the only one.
func (c *config) withoutMarket() {
	c.noMarket = true
	if c.osb.listen != "" {
		c.listen, c.osb.listen = c.osb.listen, ""
		c.url = c.ownURL()
	}
}

// osbURL is where platforms find the broker.
func (c *config) osbURL() string {
	if c.osb.listen == "" {
		return c.url + c.osb.path
	}
	other := *c
	other.listen = c.osb.listen
	return other.ownURL()
}

const brokerCommand = "broker"

var brokerUsage = `Usage: backstay broker [FLAGS]

Serves the Open Service Broker API 2.17 to other platforms, and nothing else: the control plane without a market of
its own. The settings are those of serve, of which the API's say where it listens; with --osb it is at that path, or
at that address instead. "backstay osb-client" says who may ask.

` + configFlagUsage + new(cli).table().Help() + `
Settings of the data plane take effect when the keeper starts: after a change, "backstay stop" once.
`

func serveBroker(ctx context.Context, c *cli, args []string) error {
	return serveAs(ctx, c, brokerCommand, args)
}

// osbHandler serves the broker below a path. When ctx ends it keeps nobody waiting any more.
func (p *platform) osbHandler(ctx context.Context, below string) http.Handler {
	h := osb.Handler{Log: p.log, Ending: ctx.Done(), Open: func(
		r *http.Request, name string, password backstay.Secret,
	) (backstay.Broker, error) {
		return p.tenants.Open(r.Context(), name, password, sender.Address(r))
	}}
	return http.StripPrefix(below, h.Handler())
}

// inFront has door answer what begins with the path, and rest everything else. A ServeMux would answer an id of dots
// with another address.
func inFront(path string, door, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, path) {
			door.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// doors are the addresses that we listen on.
type doors struct{ api, osb net.Listener } // osb may be nil

func openDoors(ctx context.Context, cfg *config) (d doors, err error) {
	if d.api, err = listen(ctx, cfg.listen); err != nil {
		return d, advise(fmt.Errorf("the API cannot listen: %w", err),
			"backstay serve --listen 127.0.0.1:PORT, with a free port")
	}
	if cfg.osb.listen == "" {
		return d, nil
	}
	if d.osb, err = listen(ctx, cfg.osb.listen); err != nil {
		d.close()
		return d, advise(fmt.Errorf("the broker cannot listen for other platforms: %w", err),
			"backstay serve --osb 127.0.0.1:PORT, with a free port")
	}
	return d, nil
}

func (d doors) close() {
	for _, l := range []net.Listener{d.api, d.osb} {
		if l != nil {
			l.Close()
		}
	}
}
