package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/settings"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/repository"
)

// repositorySetting is where backups lie, and the other settings of the repository have names that begin so.
const repositorySetting = "repository"

// repositorySettings say where backups lie. The secret key is never among what is handed on to the keeper: it
// reads the file itself.
func repositorySettings() []settings.Setting[config] {
	return []settings.Setting[config]{{
		Name: repositorySetting, Value: "DIR", Unit: "the path of a directory",
		Help: "keep the backups of databases in this directory", Otherwise: "the directory repository in that of data",
		More: "It should lie on another disk than the databases, or on another machine. The first start makes it; later it " +
			"must be there, and be the same one: \"backstay begin-repository\" says that it is to be another.",
		Read: absolute(func(c *config) *string { return &c.Repository.Dir }),
	}, {
		Name: "repository-endpoint", Value: "HOST", Unit: "a host, or HOST:PORT",
		Help: "keep them in the object store at this address instead, which speaks S3 over TLS",
		More: "It needs a bucket, an access key and the file of the secret key.",
		Read: func(c *config, text string) error {
			c.objects().Endpoint = text
			if u, err := url.Parse("https://" + text); err != nil || u.Host != text || !reachable(u) {
				return errors.New("is not HOST or HOST:PORT, as in s3.example.org")
			}
			return nil
		},
	}, {
		Name: "repository-bucket", Value: "NAME", Unit: "the name of a bucket, which must be there",
		Help: "the bucket of the object store",
		Read: matching(bucketName, "the name of a bucket, as in my-backups",
			func(c *config) *string { return &c.objects().Bucket }),
	}, {
		Name: "repository-prefix", Value: "PATH", Unit: "words of letters, digits, and any of . _ -, with slashes between",
		Help: "begin the names of all objects in the bucket so",
		More: "It keeps two Backstays with one bucket apart.",
		Read: matching(objectPrefix, "a path without slashes at its ends, as in backstay/one",
			func(c *config) *string { return &c.objects().Prefix }),
	}, {
		Name: "repository-region", Value: "NAME", Unit: "the name of a region",
		Help: "the region of the bucket", Otherwise: "us-east-1, which is that of most stores that have none",
		Read: text(func(c *config) *string { return &c.objects().Region }),
	}, {
		Name: "repository-access-key", Value: "KEY", Unit: "an access key's id, which is no secret",
		Help: "the access key of the object store",
		Read: text(func(c *config) *string { return &c.objects().AccessKey }),
	}, {
		Name: "repository-secret-key-file", Value: "FILE", Unit: "the path of a file that nobody else can read",
		Help: "the file with the secret that belongs to the access key, and nothing else",
		Read: absolute(func(c *config) *string { return &c.secretKeyFile }),
	}, {
		Name: "repository-authority", Value: "FILE", Unit: "the path of a file, PEM",
		Help: "the certificates to trust for the object store", Otherwise: "those that the machine trusts",
		Read: absolute(func(c *config) *string { return &c.objects().Authority }),
	}}
}

var (
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	objectPrefix = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
)

// objects is the object store of the settings. The first setting that speaks of it makes it.
func (c *config) objects() *backstay.ObjectStore {
	if c.Repository.Objects == nil {
		c.Repository.Objects = &backstay.ObjectStore{}
	}
	return c.Repository.Objects
}

// absolute reads the path of a file, which is said to a keeper that works in another directory.
func absolute(field func(*config) *string) func(*config, string) error {
	return func(c *config, path string) (err error) {
		switch {
		case path == "":
			return errors.New("must not be empty")
		case strings.Contains(path, "://"): // which would be a directory below the one that we work in
			return errors.New("is a URL and not a path; what leads to an object store is named repository-endpoint")
		}
		*field(c), err = filepath.Abs(path)
		return err
	}
}

func matching(pattern *regexp.Regexp, want string, field func(*config) *string) func(*config, string) error {
	return func(c *config, text string) error {
		*field(c) = text
		if !pattern.MatchString(text) {
			return fmt.Errorf("is not %s", want)
		}
		return nil
	}
}

// completeRepository sets where backups lie if nobody has said, and returns what does not go together.
func (c *config) completeRepository() (mistakes settings.Mistakes) {
	o := c.Repository.Objects
	if o == nil && c.secretKeyFile == "" {
		if c.Repository.Dir == "" && c.data != "" {
			c.Repository.Dir = filepath.Join(string(c.data), repositorySetting)
			c.InForce[repositorySetting] = settings.Given{Text: c.Repository.Dir, From: settings.FromDefault}
		}
		c.sayAgain(repositorySetting, c.Repository.Dir)
		return c.misplacedRepository()
	}
	o = c.objects()
	if c.Repository.Dir != "" {
		mistakes = append(mistakes, "--repository and --repository-endpoint name two places for backups: leave one out.")
	}
	for _, must := range []struct{ name, value string }{
		{"endpoint", o.Endpoint}, {"bucket", o.Bucket}, {"access-key", o.AccessKey}, {"secret-key-file", c.secretKeyFile},
	} {
		if must.value == "" {
			mistakes = append(mistakes, "An object store for backups needs --repository-"+must.name+".")
		}
	}
	c.sayAgain("repository-secret-key-file", c.secretKeyFile)
	c.sayAgain("repository-authority", o.Authority)
	return mistakes
}

// misplacedRepository refuses a directory of backups among the databases and the records of the data directory, where
// each would be taken for what it is not. Links are not followed: what lies behind one may not be there yet.
func (c *config) misplacedRepository() settings.Mistakes {
	if c.data == "" {
		return nil
	}
	data, err := filepath.Abs(string(c.data))
	if err != nil {
		return settings.Mistakes{err.Error()}
	}
	within, err := filepath.Rel(data, c.Repository.Dir)
	if err != nil || within != "." && !filepath.IsLocal(within) ||
		within == repositorySetting || strings.HasPrefix(within, repositorySetting+"/") {
		return nil
	}
	return settings.Mistakes{fmt.Sprintf("--repository %s is a place of Backstay's own, in the data directory: choose "+
		"one outside of it, or leave --repository out.", shellQuote(c.Repository.Dir))}
}

// sayAgain has a path that was given be said to the keeper as it was read.
func (c *config) sayAgain(name, path string) {
	if given, ok := c.InForce[name]; ok && path != "" {
		c.InForce[name] = settings.Given{Text: path, From: given.From}
	}
}

// openRepository is where backups lie, with the secret key.
func (c *config) openRepository() (backstay.Repository, error) {
	r := c.Repository
	if r.Objects == nil {
		return r, nil
	}
	objects := *r.Objects
	r.Objects = &objects
	var err error
	objects.SecretKey, err = readSecretKey(c.secretKeyFile)
	return r, err
}

// readSecretKey reads the file of a secret key, which nobody else may.
func readSecretKey(file string) (backstay.Secret, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("the secret key of the repository: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", advise(fmt.Errorf("others than you can read the secret key of the repository, %s", file),
			"chmod 600 %s", shellQuote(file))
	}
	secret, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("the secret key of the repository: %w", err)
	}
	return backstay.Secret(strings.TrimSpace(string(secret))), nil
}

// ownRepository is openRepository as the one that the backups of this Backstay are in, if there are any.
func (c *config) ownRepository() (backstay.Repository, error) {
	r, err := c.openRepository()
	if err != nil {
		return r, err
	}
	r.Identity, err = keeper.RepositoryIdentity(string(c.data))
	return r, err
}

// told tells what the keeper reads when it starts, without a secret: a keeper that was told something else is replaced.
func (c *config) told() string {
	r, err := c.openRepository()
	text, _ := json.Marshal(struct { // which can be encoded
		Repository backstay.Repository
		Unreadable bool
		Sealing    bool // its records: one that has begun before there were keys for that is replaced
	}{r, err != nil, c.data.sealsRecords()})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// makeRepository makes the directory of backups at the first start, and says what is not well with it. That it shares a
// disk is no matter where nothing lies on it.
func (c *config) makeRepository(catalog broker.Catalog, log *slog.Logger) error {
	dir := c.Repository.Dir
	if dir != "" && !c.data.hasServed() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the directory of backups: %w", err)
		}
	}
	if _, err := c.openRepository(); err != nil {
		log.Error("no backup can be taken", "error", err)
	}
	used := c.Database == "" || catalog.LivesIn(broker.Local) || len(c.data.instances()) > 0
	if used && c.sharesDisk() {
		log.Warn("backups share the disk of the databases: name another one by --repository, or an object store",
			"repository", dir)
	}
	return nil
}

// sharesDisk tells whether the backups go with the disk that the databases are on.
func (c *config) sharesDisk() bool {
	return c.Repository.Dir != "" && sameDisk(string(c.data), c.Repository.Dir)
}

// sameDisk tells whether two paths are on one file system, be they there or only directories above them.
func sameDisk(a, b string) bool {
	var first, second unix.Stat_t
	return unix.Stat(nearestExisting(a), &first) == nil && unix.Stat(nearestExisting(b), &second) == nil &&
		first.Dev == second.Dev
}

// probePatience is how long doctor waits for a repository.
const probePatience = time.Minute

// examineRepository tries whether backups can be written, read and removed.
func examineRepository(ctx context.Context, cfg *config, now time.Time) finding {
	const what = "repository"
	r, err := cfg.ownRepository()
	if err != nil {
		return finding{lacking, what, err.Error(), "backstay doctor --repository-secret-key-file FILE, with one of mode 0600"}
	}
	place := r.Dir
	if r.Objects != nil {
		host, _, _ := net.SplitHostPort(r.Objects.Endpoint)
		if host == "" {
			host = r.Objects.Endpoint
		}
		place = "bucket " + r.Objects.Bucket + " at " + host
	} else if !cfg.data.hasServed() && nearestExisting(place) != place {
		return finding{good, what, place + " (not made yet)" + disk(cfg), ""}
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	err = repository.Probe(ctx, r, now)
	if err == nil && r.Identity == "" && cfg.data.hasServed() {
		err = isNobodys(ctx, r)
	}
	if err != nil {
		return finding{lacking, what, err.Error(), "backstay doctor with flags of a repository that can be used; " +
			"see backstay help serve, and help begin-repository for one that is to be used from now on"}
	}
	if cfg.sharesDisk() {
		return finding{fair, what, place + disk(cfg), "backstay serve --repository DIR, with a directory on another disk"}
	}
	return finding{good, what, place + ": written, read and removed", ""}
}

// isNobodys fails where another Backstay has begun the repository: one that is in none yet does not take it by itself.
func isNobodys(ctx context.Context, r backstay.Repository) error {
	found, err := repository.Identity(ctx, r)
	if err == nil && found != "" {
		err = errors.New("the repository belongs to another Backstay")
	}
	return err
}

// disk says of a directory of backups that it shares the disk of the databases.
func disk(cfg *config) string {
	if cfg.sharesDisk() {
		return ", on the disk of the databases: if that is lost, so are the backups"
	}
	return ""
}
