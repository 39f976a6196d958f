package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/sender"
	"github.com/backstay/backstay/internal/settings"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/tunnel"
)

// table is every setting that there is: the flags, the file of "--config", help, "backstay config" and
// docs/configuration.md are made from it.
func (c *cli) table() settings.Table[config] {
	return settings.Table[config]{
		{Title: "Place", Settings: append(c.placeSettings(), sealKeySettings()...)},
		{Title: "The API", Settings: apiSettings()},
		{Title: "The certificate of databases", Settings: endpointSettings()},
		{Title: "What is offered", Settings: offerSettings()},
		{Title: "What is kept", Settings: keepingSettings()},
		{Title: "Backups", Settings: repositorySettings(),
			Intro: "A change takes effect when `backstay serve` starts again. The databases run on."},
		{Title: "The data plane", Settings: dataPlaneSettings(),
			Intro: "These take effect when the keeper starts: after a change, `backstay stop` once."},
		{Title: "Kubernetes", Settings: kubernetesSettings(),
			Intro: "A change takes effect when `backstay serve` starts again. The databases run on."},
	}
}

// dataSetting and databaseSetting are what every command that looks for a Backstay must know; standbySetting is another
// place where it keeps something.
const (
	dataSetting     = "data"
	databaseSetting = "database-url"
	standbySetting  = "standby-data"
)

// dataPlaneNames are the settings that serve hands on to the keeper.
func dataPlaneNames() []string {
	names := []string{dataSetting, sealKeySetting}
	for _, s := range append(repositorySettings(), dataPlaneSettings()...) {
		names = append(names, s.Name)
	}
	return names
}

func (c *cli) placeSettings() []settings.Setting[config] {
	return []settings.Setting[config]{{
		Name: dataSetting, Value: "DIR", Unit: "the path of a directory",
		Help:      "where this Backstay keeps everything",
		DefaultBy: c.defaultData,
		Otherwise: "$BACKSTAY_DATA, as backstay env sets it, else as root /var/lib/backstay, " +
			"else $XDG_DATA_HOME/backstay or ~/.local/share/backstay",
		Read: func(c *config, text string) error {
			dir, err := filepath.Abs(text)
			c.data = dataDir(dir)
			return err
		},
	}, {
		Name: databaseSetting, Value: "URL", Unit: "the address of a PostgreSQL database, as a URL or in keyword form",
		Help: "keep state in this PostgreSQL database, instead of a private one",
		More: "Leave the password out of it, where others can read it: `PGPASSWORD`, or a file that `PGPASSFILE` names, " +
			"is where it is looked for. One `backstay serve` at a time serves a database.",
		Show: withoutPassword,
		Read: func(c *config, text string) error {
			_, err := pgx.ParseConfig(text)
			var file *fs.PathError
			if errors.As(err, &file) {
				return fmt.Errorf("wants a file that cannot be read: %w", file)
			}
			if err != nil { // which may say the password
				return errors.New("is not a database's address, as in postgres://USER@HOST/DATABASE")
			}
			c.Database = backstay.Secret(text)
			return nil
		},
	}}
}

func apiSettings() []settings.Setting[config] {
	return []settings.Setting[config]{{
		Name: "listen", Value: "HOST:PORT", Unit: "a host or an address, and a TCP port",
		Help: "where the API listens", Default: fmt.Sprintf("127.0.0.1:%d", defaultPort),
		Read: func(c *config, text string) error {
			c.listen = text
			if _, _, err := net.SplitHostPort(text); err != nil {
				return errors.New("is not HOST:PORT, as in 127.0.0.1:7480")
			}
			return nil
		},
	}, {
		Name: "url", Value: "URL", Unit: "a URL of http or https",
		Help: "how users reach the API, if not by that address", Otherwise: "the address that the API listens on",
		Read: func(c *config, text string) error {
			c.url = strings.TrimRight(text, "/")
			if u, err := url.Parse(text); err != nil || !reachable(u) {
				return errors.New("is not a URL that users reach, as in https://api.example.org:7480")
			}
			return nil
		},
	}, {
		Name: "tls", Unit: "`true` or `false`",
		Help: "serve the API over TLS, with a certificate of this Backstay's authority", Default: "false",
		More: "It is `true` by itself where there is a `tls-certificate`.",
		Read: func(c *config, text string) (err error) {
			if c.tls, err = strconv.ParseBool(text); err != nil {
				return errors.New("is neither true nor false")
			}
			return nil
		},
	}, {
		Name: "tls-certificate", Value: "FILE", Unit: "the path of a file, PEM",
		Help: "serve the API over TLS, with the certificate chain in this file",
		More: "When it is renewed, the next connection has the new one.",
		Read: text(func(c *config) *string { return &c.api.certificate }),
	}, {
		Name: "tls-key", Value: "FILE", Unit: "the path of a file, PEM",
		Help: "the key of the certificate in tls-certificate", Read: text(func(c *config) *string { return &c.api.key }),
	}, {
		Name: osbSetting, Value: "PLACE", Unit: "a path, or a host or an address and a TCP port",
		Help: "serve the broker to other platforms: at this path of the API, or HOST:PORT",
		More: "It is the Open Service Broker API, over TLS where the API is. `backstay osb-client` says who may ask, and " +
			"docs/osb.md how a platform is led here. `backstay broker` serves it without being told to.",
		Read: func(c *config, text string) (err error) {
			c.osb, err = parseOSBPlace(text)
			return err
		},
	}, {
		Name: "trusted-proxy", Value: "NET,…", Unit: "addresses or networks with commas between them, or a list of them",
		List: true,
		Help: "believe what these addresses or networks say in X-Forwarded-For",
		Read: networks(func(c *config) *[]netip.Prefix { return &c.proxies }),
	}, {
		Name: "tunnel-networks", Value: "NET,…", Unit: "addresses or networks with commas between them, or a list of them",
		List: true,
		Help: "let tunnels of cf conduit lead to these addresses or networks, too",
		More: "They lead to instances of this Backstay's own, and not to what the credentials of other service brokers " +
			"name: whoever runs one of those could have them lead anywhere.",
		Read: networks(func(c *config) *[]netip.Prefix { return &c.tunnelNetworks }),
	}, {
		Name: "admin-password-file", Value: "FILE", Unit: "the path of a file",
		Help: "write the first password of admin to this file, instead of showing it",
		Read: text(func(c *config) *string { return &c.passwordFile }),
	}}
}

// networks reads a list of addresses and networks into a field.
func networks(field func(*config) *[]netip.Prefix) func(*config, string) error {
	return func(c *config, text string) (err error) {
		if *field(c), err = sender.ParsePrefixes(text); err != nil {
			return errors.New("is not a list of addresses or networks, as in 10.1.2.3,10.2.0.0/16")
		}
		return nil
	}
}

func endpointSettings() []settings.Setting[config] {
	return []settings.Setting[config]{{
		Name: "endpoint-certificate", Value: "FILE", Unit: "the path of a file, PEM",
		Help: "the certificate chain of databases, of an authority that clients know, instead of this Backstay's",
		More: "It must be for endpoint-host. All instances get it without a restart, also when it is renewed; credentials " +
			"that are made from then on name no authority.",
		Read: text(func(c *config) *string { return &c.endpoints.certificate }),
	}, {
		Name: "endpoint-key", Value: "FILE", Unit: "the path of a file, PEM",
		Help: "the key of the certificate in endpoint-certificate",
		Read: text(func(c *config) *string { return &c.endpoints.key }),
	}}
}

func offerSettings() []settings.Setting[config] {
	return []settings.Setting[config]{{
		Name: "catalog", Value: "FILE", Unit: "the path of a file, YAML",
		Help: "offer what this file says, instead of what is built in",
		Read: text(func(c *config) *string { return &c.catalog }),
	}, {
		Name: "space-broker-networks", Value: "NET,…",
		Unit:      "addresses or networks with commas between them, or a list of them",
		List:      true,
		Help:      "let service brokers that space developers register be in these networks only",
		More:      "Administrators register those of the whole platform, which may be anywhere.",
		Otherwise: "public networks only, and not this machine: elsewhere are services that trust whoever reaches them",
		Read:      networks(func(c *config) *[]netip.Prefix { return &c.spaceBrokerNetworks }),
	}, {
		Name: "plugins", Value: "DIR", Unit: "the path of a directory",
		Help:      "where the plugins of cf lie that users can install",
		DefaultBy: func() (string, error) { return besideProgram("plugins"), nil },
		Otherwise: "the directory plugins beside this program",
		Read:      text(func(c *config) *string { return &c.plugins }),
	}, {
		Name: "conduit-grace", Value: "DURATION", Unit: "a duration from 1s on, as in 90s or 1m30s",
		Help:    "how long credentials that cf conduit made outlive its connection",
		Default: tunnel.DefaultLease.String(),
		Read: func(c *config, text string) (err error) {
			if c.grace, err = time.ParseDuration(text); err != nil || c.grace < time.Second {
				return errors.New("is not a duration of at least a second, as in 1m30s")
			}
			return nil
		},
	}, {
		Name: "drills", Value: "WHEN", Unit: "`off` or `weekly`", Default: drillsOff,
		Help: "hold drills of instances that allow it, in each maintenance window",
		More: "The standby takes over, and an instance of one node is restarted. Developers allow it by `cf set-label " +
			"service-instance NAME drill=wanted`. `backstay drill --results` shows what was seen.",
		Read: func(c *config, text string) error {
			if c.drills = text == drillsWeekly; !c.drills && text != drillsOff {
				return errors.New("is neither off nor weekly")
			}
			return nil
		},
	}}
}

// When drills are held without being asked for.
const (
	drillsOff    = "off"
	drillsWeekly = "weekly"
)

func keepingSettings() []settings.Setting[config] {
	const unit = "a number of days, from 1 to 36500"
	return []settings.Setting[config]{{
		Name: "audit-days", Value: "DAYS", Unit: unit, Default: inDays(market.DefaultRetention.Events),
		Help: "keep audit events for so long", Read: days(func(c *config) *int { return &c.auditDays }),
	}, {
		Name: "usage-days", Value: "DAYS", Unit: unit, Default: inDays(market.DefaultRetention.Usage),
		Help: "keep what was used for so long", Read: days(func(c *config) *int { return &c.usageDays }),
	}}
}

func dataPlaneSettings() []settings.Setting[config] {
	return []settings.Setting[config]{{
		Name: keeperUnsealsSetting, Value: "true|false", Unit: "`true` or `false`",
		Help: "let the keeper get the sealing key by itself, and not only serve", Default: "true",
		More: "The keeper's records have secrets, such as the keys of certificates, of backups and of encrypted volumes, " +
			"which are sealed. With `true`, databases start after a reboot though the control plane does not; with `false`, " +
			"`backstay serve` gets the key, and hands the keeper what opens its records: no database starts before that.",
		Read: func(c *config, text string) (err error) {
			if c.keeperUnseals, err = strconv.ParseBool(text); err != nil {
				return errors.New("is neither true nor false")
			}
			return nil
		},
	}, {
		Name: "endpoint-host", Value: "HOST", Unit: "a host or an address", Default: "127.0.0.1",
		Help: "the name or address of this machine that credentials give to apps",
		More: "All certificates are renewed when it changes; bindings that were made before keep the old one.",
		Read: host(func(c *config) *string { return &c.endpointHost }),
	}, {
		Name: "endpoint-listen", Value: "ADDR", Unit: "an address of this machine; 0.0.0.0 is all of them",
		Default: "127.0.0.1",
		Help:    "the address that databases listen on",
		Read:    host(func(c *config) *string { return &c.endpointListen }),
	}, {
		Name: "ports", Value: "FIRST-LAST", Unit: "two TCP ports from 1024 to 65535", Default: "20000-29999",
		Help: "the ports that databases get",
		More: "One each, for its life, so give two Backstays on one machine ranges of their own.",
		Read: func(c *config, text string) (err error) {
			if c.ports, err = keeper.ParsePortRange(text); err != nil {
				return errors.New("is not FIRST-LAST between 1024 and 65535, as in 20000-29999")
			}
			return nil
		},
	}, {
		Name: "min-free", Value: "SIZE", Unit: sizeUnit, Default: "1GB",
		Help: "disk space that a new database must leave free",
		Read: size(func(c *config) *backstay.Bytes { return &c.minFree }),
	}, {
		Name: "volumes", Value: "HOW", Unit: "`auto`, `images` or `directories`", Default: string(keeper.AutoVolumes),
		Help: "how the storage of new databases is made",
		More: "An image is a file system of its own that keeps to the plan's storage; it takes root and `mkfs.xfs`. A " +
			"directory is watched, and nothing keeps it from growing. `auto` is images where this machine can have them, " +
			"as `backstay doctor` says. Databases that there are stay as they are.",
		Read: func(c *config, text string) (err error) {
			c.volumes, err = keeper.ParseVolumes(text)
			return err
		},
	}, {
		Name: "overcommit", Value: "FACTOR", Unit: "a number from 1 to 1000", Default: "4",
		Help: "how many times the disk may be promised to databases",
		More: "Most of them use a small part of their plan's storage. A new one, or a larger plan, is refused where all " +
			"plans together would promise more, counting a margin and a log for each.",
		Read: func(c *config, text string) (err error) {
			c.overcommit, err = strconv.ParseFloat(text, 64)
			if err != nil || !(c.overcommit >= 1 && c.overcommit <= 1000) { // which is no number either
				return errors.New("is not a number from 1 to 1000, as in 2.5")
			}
			return nil
		},
	}, {
		Name: "volume-reserve", Value: "SIZE", Unit: sizeUnit, Default: "1GB",
		Help: "disk space that no database gets",
		More: "When no more than this is free, databases on images are full: what the platform itself needs is left. " +
			"Other programs that fill the same disk within a second should find it too.",
		Read: size(func(c *config) *backstay.Bytes { return &c.volumeReserve }),
	}, {
		Name: standbySetting, Value: "DIR", Unit: "the path of a directory, which must be there",
		Help:      "keep the standbys of databases of two nodes in this directory, on another disk",
		Otherwise: "the directory of data, where a lost disk is the loss of both nodes",
		More: "It is this Backstay's alone, and made by nobody: where its disk is not mounted, or has no room, standbys " +
			"wait for that. So do those of databases that have images where there can be none. Those that there are stay " +
			"where they lie until they are made anew, as after a change to a plan of one node and back.",
		Read: absolute(func(c *config) *string { return &c.standbyData }),
	}, {
		Name: "limits", Value: "HOW", Unit: "`auto` or `off`", Default: "auto",
		Help: "whether databases are kept to the memory and the processor of their plans",
		More: "`auto` limits what this machine can limit, as `backstay doctor` says. With `off`, a database that is " +
			"started from then on has no limit.",
		Read: func(c *config, text string) error {
			c.noLimits = text == "off"
			if text != "auto" && text != "off" {
				return errors.New("is neither auto nor off")
			}
			return nil
		},
	},
		installed("postgres", "/usr/lib/postgresql", "where PostgreSQL versions are installed",
			"Each directory in such a one that has a `bin` with PostgreSQL's programs in it is a version.",
			func(c *config) *[]string { return &c.postgresDirs }),
		installed("mysql", "/usr", "where MariaDB or MySQL is installed",
			"The server is looked for in the directory `sbin` of each.",
			func(c *config) *[]string { return &c.mysqlDirs }),
		installed("redis", "/usr/bin", "where the programs of Redis or Valkey are installed", "",
			func(c *config) *[]string { return &c.redisDirs }),
		installed("mongodb", "/usr", "where FerretDB is installed, beside PostgreSQL with DocumentDB",
			"In each, `bin/ferretdb` and `lib/postgresql/VERSION/bin` are looked for, and "+
				"`share/postgresql/VERSION/extension/documentdb.control`.",
			func(c *config) *[]string { return &c.mongodbDirs }),
		installed("opensearch", "/usr/share/opensearch", "where OpenSearch is installed, with its security plugin",
			"Each is a directory into which it was unpacked: in it are `lib` and `plugins/opensearch-security`.",
			func(c *config) *[]string { return &c.opensearchDirs }),
	}
}

const sizeUnit = "a size in B, KB, MB, GB or TB, of which 1 KB is 1024 B"

// size reads an amount of storage.
func size(field func(*config) *backstay.Bytes) func(*config, string) error {
	return func(c *config, text string) (err error) {
		if *field(c), err = backstay.ParseBytes(text); err != nil {
			return errors.New("is not a size with its unit, as in 5GB or 568MB")
		}
		return nil
	}
}

// installed is where an engine's versions are looked for.
func installed(name, usual, help, more string, field func(*config) *[]string) settings.Setting[config] {
	return settings.Setting[config]{
		Name: name, Value: "DIR,…", Unit: "paths of directories with commas between them, or a list of them", List: true,
		Default: usual, Help: help, More: more,
		Read: func(c *config, text string) error {
			*field(c) = strings.Split(text, ",")
			if slices.ContainsFunc(*field(c), func(dir string) bool { return !filepath.IsAbs(dir) }) {
				return fmt.Errorf("is not a list of absolute paths, as in %s,/opt/%s", usual, name)
			}
			return nil
		},
	}
}

// reachable tells whether a URL can be one that the paths of an API are put behind.
func reachable(u *url.URL) bool {
	_, err := netip.ParseAddr(u.Hostname())
	port, wrong := strconv.ParseUint(cmp.Or(u.Port(), "443"), 10, 16)
	return (u.Scheme == "http" || u.Scheme == "https") && (err == nil || hostName.MatchString(u.Hostname())) &&
		wrong == nil && port > 0 && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// text reads a value that can be anything but empty.
func text(field func(*config) *string) func(*config, string) error {
	return func(c *config, text string) error {
		*field(c) = text
		if text == "" {
			return errors.New("must not be empty")
		}
		return nil
	}
}

// hostName matches the names of machines. What ends in a number is an address, or none.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_-]+\.)*[0-9-]*[A-Za-z_][A-Za-z0-9_-]*\.?$`)

// host reads the name or the address of a machine.
func host(field func(*config) *string) func(*config, string) error {
	return func(c *config, text string) error {
		*field(c) = text
		if _, err := netip.ParseAddr(text); err != nil && !hostName.MatchString(text) {
			return errors.New("is neither an address nor the name of a machine, as in 127.0.0.1 or db.example.org")
		}
		return nil
	}
}

// maxDays is what retention can count to: a century.
const maxDays = 36500

func inDays(d time.Duration) string { return strconv.Itoa(int(d / market.Day)) }

func days(field func(*config) *int) func(*config, string) error {
	return func(c *config, text string) error {
		n, err := strconv.Atoi(text)
		*field(c) = n
		if err != nil || n < 1 || n > maxDays {
			return fmt.Errorf("is not a number of days between 1 and %d", maxDays)
		}
		return nil
	}
}

// passwordWord finds a password in a database's address in keyword form, or among the parameters of a URL.
var passwordWord = regexp.MustCompile(`(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s&]+)`)

// withoutPassword is a database's address with its passwords redacted.
func withoutPassword(address string) string {
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil {
			return backstay.Redacted // whatever in it is the password
		}
		if _, has := u.User.Password(); has {
			address = u.Redacted()
		}
	}
	return passwordWord.ReplaceAllString(address, "${1}"+backstay.Redacted)
}
