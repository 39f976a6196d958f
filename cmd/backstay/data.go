package main

import (
	"errors"
	"flag"
	"path/filepath"
	"strconv"
	"strings"
)

// defaultPort is where the API listens, on loopback, unless told otherwise.
const defaultPort = 7480

// dataDir is where one Backstay keeps everything; each method is a place in it.
type dataDir string

func (d dataDir) servePID() string     { return filepath.Join(string(d), "serve.pid") }
func (d dataDir) keeperSocket() string { return filepath.Join(string(d), "keeper", "keeper.sock") }
func (d dataDir) cfHome() string       { return filepath.Join(string(d), "cf") }
func (d dataDir) sealKey() string      { return filepath.Join(string(d), "seal.key") }
func (d dataDir) authority() string    { return filepath.Join(string(d), "authority.pem") }

// stateData is where our own database's data lies: where it has been upgraded, what was made last.
func (d dataDir) stateData() string {
	first := filepath.Join(string(d), "instances", string(stateInstance), "data")
	upgraded, _ := filepath.Glob(filepath.Join(first+"-*", versionFile))
	newest, last := first, int64(-1)
	for _, file := range upgraded {
		dir := filepath.Dir(file)
		generation, err := strconv.ParseInt(strings.TrimPrefix(dir, first+"-"), 10, 64)
		if err == nil && generation > last {
			newest, last = dir, generation
		}
	}
	return newest
}

// versionFile is in every data directory of PostgreSQL, and says whose it is.
const versionFile = "PG_VERSION"

// dataFlags adds --data and --config to fs. The result is to be called once fs is parsed.
func (c *cli) dataFlags(fs *flag.FlagSet) func() (dataDir, error) {
	read := c.configFlags(fs, dataSetting)
	return func() (dataDir, error) {
		cfg, err := read()
		if err != nil {
			return "", err
		}
		return cfg.data, nil
	}
}

// dataVariable is the variable of the environment by which "backstay env" says where everything is kept.
const dataVariable = "BACKSTAY_DATA"

// defaultData is where everything is kept when nobody says where. Its error goes on with a sentence that has begun.
func (c *cli) defaultData() (string, error) {
	if dir := c.env(dataVariable); filepath.IsAbs(dir) {
		return dir, nil
	}
	if c.root {
		return "/var/lib/backstay", nil
	}
	if dir := c.env("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "backstay"), nil
	}
	if home := c.env("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "backstay"), nil
	}
	return "", errors.New("is in the home directory, which HOME does not name")
}
