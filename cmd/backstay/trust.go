package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/backstay/backstay/internal/atomicfile"
)

var trustUsage = `Usage: backstay trust [--print] [--data DIR]

Makes every program of this machine trust the services of this Backstay: installs the certificate of its
authority in the system's store. For an image or another machine, --print prints the certificate instead.

  --print   print the certificate, and change nothing

` + dataUsage

// trust is for apps that "backstay run" does not start.
func trust(ctx context.Context, c *cli, args []string) error {
	flags := flag.NewFlagSet("trust", flag.ContinueOnError)
	printed := flags.Bool("print", false, "")
	data := c.dataFlags(flags)
	if err := parseAll(flags, args); err != nil {
		return err
	}
	dir, err := data()
	if err != nil {
		return err
	}
	certificate, err := os.ReadFile(dir.authority())
	if errors.Is(err, fs.ErrNotExist) {
		return advise(fmt.Errorf("%s has no authority yet: serve makes it at its first start", dir), "backstay serve")
	}
	if err != nil {
		return err
	}
	if *printed {
		_, err := c.stdout.Write(certificate)
		return err
	}
	store, err := findStore()
	if err != nil {
		return err
	}
	path, err := store.install(ctx, certificate)
	if errors.Is(err, fs.ErrPermission) {
		return advise(fmt.Errorf("the system's store belongs to root: %w", err),
			"sudo backstay trust --data %s", shellQuote(string(dir)))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Every program that trusts the system's store trusts this Backstay's services now.\n"+
		"To take that back, remove %s and type: %s\n", path, store.update[0])
	return nil
}

// trustStore is where a system keeps the authorities that its administrator adds, and the command that makes
// programs find them.
type trustStore struct {
	dir    string
	update []string
}

// findStore returns the store of Debian and its kin, or that of Fedora's.
func findStore() (trustStore, error) {
	for _, store := range []trustStore{
		{"/usr/local/share/ca-certificates", []string{"update-ca-certificates"}},
		{"/etc/pki/ca-trust/source/anchors", []string{"update-ca-trust"}},
	} {
		if _, err := exec.LookPath(store.update[0]); err == nil {
			return store, nil
		}
	}
	return trustStore{}, advise(errors.New("this system has neither update-ca-certificates nor update-ca-trust"),
		"backstay trust --print")
}

// install adds a certificate, PEM, under a name that two Backstays do not share, and returns where it lies.
func (s trustStore) install(ctx context.Context, certificate []byte) (path string, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return "", err
	}
	sum := sha256.Sum256(certificate)
	path = filepath.Join(s.dir, "backstay-"+hex.EncodeToString(sum[:4])+".crt")
	if err := atomicfile.Write(path, certificate, 0o644); err != nil {
		return "", err
	}
	if said, err := exec.CommandContext(ctx, s.update[0], s.update[1:]...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", s.update[0], err, said)
	}
	return path, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
