package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/settings"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/market"
)

// config is what a Backstay goes by.
type config struct {
	doctor           string // the command that examines what was given
	data             dataDir
	Database         backstay.Secret // exported so that fmt finds the methods that redact it; empty: a private one
	listen, url      string
	tls              bool
	api, endpoints   files // certificates that the operator brings
	proxies          []netip.Prefix
	osb              osbPlace // where other platforms find the broker
	noMarket         bool     // the command broker
	passwordFile     string
	catalog, plugins string
	grace            time.Duration
	auditDays        int
	usageDays        int
	endpointHost     string
	endpointListen   string
	ports            keeper.PortRange
	minFree          backstay.Bytes
	drills           bool // are held in maintenance windows
	volumes          keeper.Volumes
	overcommit       float64
	volumeReserve    backstay.Bytes
	standbyData      string              // empty: standbys lie in data
	Repository       backstay.Repository // without the secret key, which is in secretKeyFile; exported as Database is
	secretKeyFile    string
	SealKey          seal.Source // where the sealing key comes from
	noLimits         bool
	keeperUnseals    bool // the keeper gets that by itself
	postgresDirs     []string
	mysqlDirs        []string
	redisDirs        []string
	mongodbDirs      []string
	opensearchDirs   []string
	kubernetes       cluster
	keepArgs         []string // the command line of a keeper that goes by the same

	// Where we go for users' sake.
	tunnelNetworks      []netip.Prefix
	spaceBrokerNetworks []netip.Prefix // nil: any but those that osb.Reserved tells of

	InForce settings.Values // what all of it was read from; exported as Database is
}

// files are where a certificate and its key lie; empty: there is none.
type files struct{ certificate, key string }

func (c *config) retention() market.Retention {
	r := market.DefaultRetention
	r.Events, r.Usage = time.Duration(c.auditDays)*market.Day, time.Duration(c.usageDays)*market.Day
	return r
}

const configFlagUsage = "  --config FILE                read settings from this file, which flags go over\n"

// dataUsage is for commands that look for a Backstay on this machine.
var dataUsage = configFlagUsage + new(cli).table().Help(dataSetting)

// configFlags adds the flags of the named settings, or of all if none is named, and --config to fs. The result
// is to be called once fs is parsed. It fails with all mistakes in flags and file.
func (c *cli) configFlags(fs *flag.FlagSet, names ...string) func() (*config, error) {
	table, flags := c.table(), settings.Values{}
	table.Flags(fs, flags, names...)
	path := fs.String("config", "", "")
	return func() (*config, error) {
		var file settings.Values
		var mistakes settings.Mistakes
		if *path != "" {
			file, mistakes = table.ReadFile(*path)
		}
		c.doctor = examining(*path, flags)
		cfg := &config{doctor: c.doctor}
		inForce, more := table.Read(cfg, flags, file)
		cfg.InForce = inForce
		mistakes = append(append(mistakes, more...), cfg.complete()...)
		if len(mistakes) > 0 {
			return nil, usageError(mistakes.Error())
		}
		cfg.keepArgs = append([]string{"keep"}, table.Args(inForce, dataPlaneNames()...)...)
		return cfg, nil
	}
}

// examining is the command that examines what the command line has named.
func examining(file string, flags settings.Values) string {
	command := "backstay doctor"
	if file != "" {
		command += " --config " + shellQuote(file)
	}
	for _, name := range []string{dataSetting, sealKeySetting} {
		if given, ok := flags[name]; ok {
			command += " --" + name + " " + shellQuote(given.Text)
		}
	}
	return command
}

// serveConfig reads all settings, for the command that the arguments were given to.
func (c *cli) serveConfig(command string, args []string) (*config, error) {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	read := c.configFlags(fs)
	if err := parseAll(fs, args); err != nil {
		return nil, err
	}
	return read()
}

// complete sets what follows from other settings, and returns what does not go together.
func (c *config) complete() (mistakes settings.Mistakes) {
	if c.data != "" {
		c.InForce[dataSetting] = settings.Given{Text: string(c.data), From: c.InForce[dataSetting].From}
	}
	for name, f := range map[string]files{"tls": c.api, "endpoint": c.endpoints} {
		if (f.certificate == "") != (f.key == "") {
			mistakes = append(mistakes, fmt.Sprintf(
				"--%s-certificate and --%[1]s-key belong together: one of them is missing.", name))
		}
	}
	if c.api.certificate != "" && !c.tls {
		c.tls = true
		c.InForce["tls"] = settings.Given{Text: "true", From: "follows from tls-certificate"}
	}
	c.sayAgain(standbySetting, c.standbyData)
	if c.standbyData != "" && c.standbyData == string(c.data) {
		mistakes = append(mistakes, "--standby-data is that of --data: want a directory on another disk.")
	}
	if c.url == "" {
		c.url = c.ownURL()
		c.InForce["url"] = settings.Given{Text: c.url, From: settings.FromDefault}
	}
	mistakes = append(mistakes, c.completeOSB()...)
	c.completeSealKey()
	return append(append(mistakes, c.completeRepository()...), c.kubernetes.mistakes()...)
}

// ownURL is the address that the API listens on. Where it listens on all, it is the one that instances have.
func (c *config) ownURL() string {
	host, port, err := net.SplitHostPort(c.listen)
	if err != nil {
		return "" // which is told of as a mistake of --listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = cmp.Or(c.endpointHost, host)
	}
	scheme := "http"
	if c.tls {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// besideProgram is the path of what is installed in the directory of this program.
func besideProgram(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

var configUsage = `Usage: backstay config [FLAGS]

Prints the settings that "backstay serve" would go by with the same flags, in the form of the file that --config
names, each with where it comes from: a default, a flag, or a line of the file. Passwords are left out.

` + configFlagUsage + new(cli).table().Help()

func printConfig(_ context.Context, c *cli, args []string) error {
	cfg, err := c.serveConfig("config", args)
	if err != nil {
		return err
	}
	return c.table().Write(c.stdout, cfg.InForce)
}
