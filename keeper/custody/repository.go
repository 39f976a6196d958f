package custody

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/repository"
)

// Mark is what lies on disk of the repository that the backups are in: any other is away.
type Mark struct {
	Identity string `json:"identity"`
	Begun    bool   `json:"begun"` // the repository carries it; before that, a keeper may have died
}

// markFile lies among the records, and has no name of one.
func markFile(dir string) string { return filepath.Join(dir, "repository") }

// MarkIn reads the mark among the records in dir. It is zero if there is none yet.
func MarkIn(dir string) (m Mark, err error) {
	text, err := os.ReadFile(markFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		err = fmt.Errorf("read which repository the backups are in: %w", err)
	}
	return m, err
}

func (m Mark) save(dir string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return atomicfile.Write(markFile(dir), text, 0o600)
}

// Begin has the backups whose records lie in dir kept in that repository from now on, whichever they were in before.
// New tells that nobody had begun it. A keeper may run meanwhile.
func Begin(ctx context.Context, dir string, r backstay.Repository) (isNew bool, err error) {
	found, err := repository.Identity(ctx, r)
	if err != nil {
		return false, err
	}
	if found != "" {
		return false, Mark{Identity: found, Begun: true}.save(dir)
	}
	return true, beginAs(ctx, dir, r, uuid.NewString())
}

// beginAs gives a repository that has none an identity. That is written down here before it is there, so that whoever
// is killed in between takes the same one again.
func beginAs(ctx context.Context, dir string, r backstay.Repository, identity string) error {
	m := Mark{Identity: identity}
	if err := m.save(dir); err != nil {
		return err
	}
	r.Identity = identity
	if err := repository.Begin(ctx, r); err != nil {
		return err
	}
	m.Begun = true
	return m.save(dir)
}

// own is the repository, as the one that it must be, if that is known.
func (c *Custody) own() backstay.Repository {
	r := c.Repository
	if m, err := MarkIn(c.Dir); err == nil && m.Begun {
		r.Identity = m.Identity
	}
	return r
}

// identify makes sure that it is known which repository the backups are in. One that nobody has begun is begun, unless
// the backups that are known of would have to be in it; one that somebody has begun is ours if they are. The error is
// Unavailable then: it is as if the repository were away.
func (c *Custody) identify(ctx context.Context) error {
	if m, err := MarkIn(c.Dir); err != nil || m.Begun {
		return err
	}
	if err := c.naming.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.naming.Release(1)
	m, err := MarkIn(c.Dir)
	if err != nil || m.Begun {
		return err
	}
	found, err := repository.Identity(ctx, c.Repository)
	switch {
	case err != nil:
		return err
	case m.Identity != "" && (found == "" || found == m.Identity): // begun by a keeper that has died
		return beginAs(ctx, c.Dir, c.Repository, m.Identity)
	}
	ours, known, err := c.hasOurs(ctx, found != "")
	switch {
	case err != nil:
		return err
	case found != "" && !ours:
		return backstay.Errorf(backstay.Unavailable, "The repository belongs to another Backstay.")
	case found != "":
		return Mark{Identity: found, Begun: true}.save(c.Dir)
	case known && !ours:
		return backstay.Errorf(backstay.Unavailable, "The repository is not the one that the backups are in: there is "+
			"nothing of them. %s", repository.Doubt(c.Repository))
	}
	return beginAs(ctx, c.Dir, c.Repository, uuid.NewString())
}

// samples is of how many instances it is looked whether there is anything in a repository.
const samples = 8

// hasOurs tells whether the repository has anything of our instances, and whether backups are known of that it would
// have to have. Alone asks only for instances that no other Backstay has.
func (c *Custody) hasOurs(ctx context.Context, alone bool) (ours, known bool, err error) {
	var backed, others []backstay.InstanceID
	for _, id := range c.Known() {
		k, ok := c.find(id)
		has, unique := ok && len(k.kept().List) > 0, uuid.Validate(string(id)) == nil
		known = known || has
		switch {
		case has && (unique || !alone):
			backed = append(backed, id)
		case unique:
			others = append(others, id)
		}
	}
	ids := append(backed, others...)
	for _, id := range ids[:min(len(ids), samples)] {
		if ours, err = repository.HasPart(ctx, c.Repository.Of(id, "")); ours || err != nil {
			return ours, known, err
		}
	}
	return false, known, nil
}

// adopt makes the repository the one that the backups are in, if none is yet: whoever calls it has opened with our
// keys what lies in it, as on a new machine. One that carries no identity is for identify.
func (c *Custody) adopt(ctx context.Context) error {
	if err := c.naming.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.naming.Release(1)
	if m, err := MarkIn(c.Dir); err != nil || m.Identity != "" {
		return err
	}
	found, err := repository.Identity(ctx, c.Repository)
	if err != nil || found == "" {
		return err
	}
	return Mark{Identity: found, Begun: true}.save(c.Dir)
}
