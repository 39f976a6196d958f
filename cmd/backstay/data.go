package main

import (
	"flag"
	"path/filepath"
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
func (d dataDir) stateData() string {
	return filepath.Join(string(d), "instances", string(stateInstance), "data")
}

const dataUsage = `  --data DIR   where this Backstay keeps everything (as root /var/lib/backstay,
               else $XDG_DATA_HOME/backstay or ~/.local/share/backstay)
`

// dataFlag adds --data to fs. The result is to be called once fs is parsed.
func (c *cli) dataFlag(fs *flag.FlagSet) func() (dataDir, error) {
	given := fs.String("data", "", "")
	return func() (dataDir, error) {
		dir := *given
		if dir == "" {
			var err error
			if dir, err = c.defaultData(); err != nil {
				return "", err
			}
		}
		abs, err := filepath.Abs(dir)
		return dataDir(abs), err
	}
}

func (c *cli) defaultData() (string, error) {
	if c.root {
		return "/var/lib/backstay", nil
	}
	if dir := c.env("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "backstay"), nil
	}
	if home := c.env("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "backstay"), nil
	}
	return "", usageError("HOME is not set, so there is no default for --data.")
}
