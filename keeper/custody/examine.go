package custody

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
)

// isGone is what is damaged of a backup that is not in the repository any more.
const isGone = "It is gone from the repository, or cannot be read."

// Examine is instance.Vault's.
func (c *Custody) Examine(ctx context.Context, o backend.Origin) (found bool, err error) {
	if k, ok := c.recorded(o); ok {
		return k.examine(ctx)
	}
	before, err := c.discover(ctx, o)
	if err != nil {
		return false, err
	}
	installed, err := c.Newest(ctx, before.Engine)
	if err != nil || len(installed) == 0 {
		return false, err
	}
	n, leave, err := c.bare(Record{Kept: before, Installation: installed[0]})
	if err != nil {
		return false, err
	}
	defer leave()
	archiver := c.Engines[before.Engine].(engine.Archiver) // which has listed the backups
	f, err := archiver.Verify(ctx, n, c.own().Of(o.Instance, o.Key))
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	c.found[o.Instance] = f
	c.mu.Unlock()
	after := before
	after.List, after.Gaps = slices.Clone(before.List), f.Lost
	judge(after.List, f)
	return isWorse(before, after), nil
}

// examine has all that is kept of the instance read, and records what is damaged of it. Found tells that something is
// that was not known to be.
func (k *Custodian) examine(ctx context.Context) (found bool, err error) {
	before, _ := k.Backups()
	var f findings
	if err := step.Run(ctx, k.examineSteps(&f)...); err != nil {
		return false, err
	}
	k.poke() // another backup may be due
	after, _ := k.Backups()
	return isWorse(before, after), nil
}

// findings are what an engine has found, of the backups that there were when it began.
type findings struct {
	engine.Findings
	of []backstay.Backup
}

func (k *Custodian) examineSteps(f *findings) []step.Step {
	return []step.Step{
		{Name: "custody.examined", Do: func(ctx context.Context) (err error) {
			*f, err = k.readAll(ctx)
			return err
		}},
		{Name: "custody.findings-recorded", Do: func(context.Context) error {
			err := k.amend(func(r *Record) {
				for i := range r.Kept.List {
					if indexOf(f.of, r.Kept.List[i].ID) >= 0 {
						judge(r.Kept.List[i:i+1], f.Findings)
					}
				}
				r.Lost = untold(f.Lost, r.Kept.Gaps)
			})
			if said := damageOf(k.snapshot()); said != "" {
				k.log.Warn("damage was found in the repository", "damage", said)
			}
			return err
		}},
	}
}

// examinations is how often it is tried to read a repository while no backup is being taken.
const examinations = 3

// readAll has the repository read. What is half there of a backup that is being taken would be damage, so that is
// waited for, and what was read while another one began is read again. The archive goes on meanwhile.
func (k *Custodian) readAll(ctx context.Context) (f findings, err error) {
	n, leave, err := k.bare()
	if err != nil {
		return f, err
	}
	defer leave()
	for range examinations {
		k.reads() // nothing is removed then
		end, err := k.begin(ctx)
		if err != nil {
			return f, err
		}
		taken := k.countTaken()
		f.of = k.kept().List
		end()
		err = quietly(func() (err error) {
			f.Findings, err = k.archiver().Verify(ctx, n, k.repository())
			return err
		})
		if backstay.KindOf(err) == backstay.Invalid { // nothing can be read
			f.Findings, err = engine.Findings{}, nil
		}
		if err != nil || taken == k.countTaken() {
			return f, err
		}
	}
	return f, backstay.Errorf(backstay.Unavailable, "Backups were taken all the time while the others were read.")
}

func (k *Custodian) countTaken() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.taken
}

func (k *Custodian) snapshot() Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record
}

// judge marks the backups as damaged or whole.
func judge(list []backstay.Backup, f engine.Findings) {
	for i, b := range list {
		damage, there := f.Backups[b.ID]
		if !there {
			damage = isGone
		}
		list[i].Damaged = damage
	}
}

func indexOf(list []backstay.Backup, id string) int {
	return slices.IndexFunc(list, func(b backstay.Backup) bool { return b.ID == id })
}

// untold are the gaps that have no time in common with those which were told of when they came to be.
func untold(lost, told []backstay.Gap) []backstay.Gap {
	return slices.DeleteFunc(slices.Clone(lost), func(g backstay.Gap) bool {
		return slices.ContainsFunc(told, func(t backstay.Gap) bool {
			return t.Until.After(g.From) && g.Until.After(t.From)
		})
	})
}

// isWorse tells whether something is damaged that was not.
func isWorse(before, after backend.Backups) bool {
	return slices.ContainsFunc(after.List, func(b backstay.Backup) bool {
		i := indexOf(before.List, b.ID)
		return b.Damaged != "" && (i < 0 || before.List[i].Damaged == "")
	}) || slices.ContainsFunc(after.Gaps, func(g backstay.Gap) bool {
		return !slices.ContainsFunc(before.Gaps, func(b backstay.Gap) bool { return b.From.Equal(g.From) })
	})
}

// damageOf says what is damaged; empty: nothing.
func damageOf(r Record) string {
	var all []string
	if damage := backup.Damage(r.Kept.List); damage != "" {
		all = append(all, damage)
	}
	for _, g := range r.Lost {
		all = append(all, "The archive has lost what was written between "+g.From.UTC().Format(time.DateTime)+" and "+
			g.Until.UTC().Format(time.DateTime)+".")
	}
	return strings.Join(all, " ")
}
