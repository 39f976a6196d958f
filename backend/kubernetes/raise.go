package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// raise is an upgrade of an instance to another major version: the operator ends all nodes, has a job bring the data of
// the primary over where it lies, and makes the others anew. There is no way back from where it has ended, so that all
// is in the archive before.
type raise struct {
	Spec  backend.Spec `json:"spec"` // that asks for it, and is gone by until it has ended
	From  string       `json:"from"` // the version
	Stage stage        `json:"stage"`
	Why   string       `json:"why,omitempty"` // it has failed; empty: it has not
}

// stage is how far an upgrade is:
//
//	preparing ─► converting ─► opening ─► (none)
//	    └────────────┴─► failed ─► opening ─► over
//
// Users are let in before and behind opening.
type stage string

const (
	preparing  stage = "preparing"  // users are shut out, and all that was written is archived
	converting stage = "converting" // the image is the later one, and the operator's job works
	failed     stage = "failed"     // the server before comes back, and becomes what it was
	opening    stage = "opening"    // the server that is to serve is about to read that users are let in
	over       stage = "over"       // nothing came of it, and it is not tried again
)

// rising tells whether an upgrade goes on.
func (r record) rising() bool { return r.at(preparing) || r.at(converting) }

func (r record) at(s stage) bool { return r.Raise != nil && r.Raise.Stage == s }

// shut tells whether nobody is let in for an upgrade.
func (r record) shut() bool { return r.rising() || r.at(failed) }

// rises tells whether the Spec asks for an upgrade that is not begun.
func (r record) rises() bool {
	tried := r.Raise != nil && r.Raise.Spec.Generation == r.Spec.Generation
	return r.Reached != nil && !tried && !r.shut() && !r.at(opening) && r.settled() &&
		engine.CompareVersions(r.Reached.Version, r.Spec.Version) < 0
}

// upgradable refuses another major version that an instance cannot come to.
func (c *Config) upgradable(r record, s backend.Spec) error {
	refuse := func(format string, args ...any) error { return backstay.Errorf(backstay.Unsupported, format, args...) }
	was := r.Reached.Version
	_, can := c.Engines[s.Engine].(engine.HostedUpgrader)
	major, _ := strconv.Atoi(s.Version)
	switch {
	case r.wantsBack(s) || r.brings() && r.Bring.Version == s.Version:
		return nil
	case s.RollBack && c.Repository == nil:
		return refuse("Service instances on Kubernetes return from an upgrade by their backups, and these are not backed up.")
	case s.RollBack:
		return refuse("There is no data of version %s any more to return to.", s.Version)
	case engine.CompareVersions(s.Version, was) < 0:
		return refuse("The data was made by %[1]s %[2]s and cannot be served by %[1]s %[3]s: "+
			"%[1]s has no way back to an earlier version.", product, was, s.Version)
	case !can || major < firstUpgrade:
		return refuse("Service instances on Kubernetes are upgraded to %s %d or newer.", product, firstUpgrade)
	}
	return nil
}

// firstUpgrade is the first major version that the operator upgrades to.
const firstUpgrade = 16

// planRaise decides what an instance is held to that is to be upgraded, or could not be. The wish is what
// it would be held to otherwise.
func (in *instance) planRaise(ctx context.Context, s *situation) (saved bool, err error) {
	r := s.record
	switch {
	case !r.rises() || s.obstacle.Sentence != "":
	case !in.canReturn(r):
		s.obstacle = backend.Obstacle{Generation: r.Spec.Generation, Sentence: fmt.Sprintf(
			"Upgrading from %s to %s: the first backup is awaited, to which it can return.", r.Reached.Version, r.Spec.Version)}
		s.wish, err = in.b.wishFor(r, *r.Reached)
		return false, err
	default:
		return in.change(ctx, r, func(r record) record {
			r.Raise = &raise{Spec: r.Spec, From: r.Reached.Version, Stage: preparing}
			return r
		})
	}
	refused := r.Raise != nil && r.Raise.Why != "" && r.Raise.Spec.Generation == r.Spec.Generation
	if refused {
		s.obstacle = backend.Obstacle{Generation: r.Spec.Generation, Sentence: r.Raise.Why, Final: true}
	}
	switch {
	case r.at(converting):
		s.wish, err = in.b.wishFor(r, r.Raise.Spec)
	case r.shut() || r.at(opening) || refused:
		s.wish, err = in.b.wishFor(r, *r.Reached)
	}
	return false, err
}

func (in *instance) setRaise(ctx context.Context, become func(*raise)) error {
	_, err := in.amend(ctx, func(r record) record {
		if r.Raise != nil {
			up := *r.Raise
			become(&up)
			r.Raise = &up
		}
		return r
	})
	return err
}

// attendRaise does what a server takes that an upgrade has to do with. The error says how far it is.
func (in *instance) attendRaise(ctx context.Context, s situation, n engine.Node, seen sight) error {
	switch r := s.record; {
	case r.at(opening):
		return in.open(ctx, s, seen)
	case r.at(failed):
		return in.forgo(ctx, s, n, seen)
	default:
		return in.rise(ctx, s, n, seen)
	}
}

// rise does what the server takes that is before an upgrade, or behind it.
func (in *instance) rise(ctx context.Context, s situation, n engine.Node, seen sight) error {
	r := s.record
	u, ok := in.b.Engines[r.Spec.Engine].(engine.HostedUpgrader)
	switch {
	case !ok:
		return errors.New("the engine cannot be upgraded")
	case seen.observation.Edition != s.wish.hosting.Edition || r.at(converting) && s.view.Major != r.Raise.Spec.Version:
		return s.rising("nobody is let in any more.")
	case r.at(converting):
		return in.risen(s, n, u)
	}
	if err := u.PrepareUpgrade(ctx, n); err != nil {
		return err
	}
	if keeps(r) && len(r.Keeping.Lines) > 0 && !r.Keeping.Cut {
		if err := in.flush(in.b.ctx, time.Time{}); err != nil { // nobody is kept out for as long as the store is away
			why := "What was written last cannot be archived before the upgrade: " + sentenceFor(err)
			return cmp.Or(in.setRaise(ctx, func(up *raise) { up.Stage, up.Why = failed, why }), err)
		}
	}
	_, err := in.amend(ctx, func(r record) record {
		if r.at(preparing) {
			up := *r.Raise
			up.Stage = converting
			r.Raise, r.Keeping.Cut = &up, len(r.Keeping.Lines) > 0
		}
		return r
	})
	in.wake()
	return cmp.Or(err, s.rising("all that was written is archived."))
}

// forgo has the server before be what it was, in which users are then let in again.
func (in *instance) forgo(ctx context.Context, s situation, n engine.Node, seen sight) error {
	if seen.observation.Edition != s.wish.hosting.Edition {
		return s.opening()
	}
	if u, ok := in.b.Engines[s.record.Spec.Engine].(engine.HostedUpgrader); ok {
		if err := u.ForgoUpgrade(ctx, n); err != nil {
			return err
		}
	}
	err := in.setRaise(ctx, func(up *raise) { up.Stage = opening })
	in.wake()
	return cmp.Or(err, s.opening())
}

// open notes the end of an upgrade once the server has read that users are let in.
func (in *instance) open(ctx context.Context, s situation, seen sight) error {
	if seen.observation.Edition != s.wish.hosting.Edition {
		return s.opening()
	}
	_, err := in.amend(ctx, func(r record) record {
		switch {
		case !r.at(opening):
		case r.Raise.Why == "":
			r.Raise = nil
		default:
			up := *r.Raise
			up.Stage = over
			r.Raise = &up
		}
		return r
	})
	in.wake()
	return cmp.Or(err, s.opening())
}

func (s situation) opening() error {
	return backstay.Errorf(backstay.Unavailable, "%s", strings.TrimSpace(s.record.Raise.Why+
		" The server is about to let users in."))
}

// risen notes that the data is of another version, once the server has what an upgrade leaves behind.
func (in *instance) risen(s situation, n engine.Node, u engine.HostedUpgrader) error {
	ctx := in.b.ctx // which takes as long as the indexes that are to be made anew
	if err := u.FinishUpgrade(ctx, n); err != nil {
		return err
	}
	image := s.wish.image
	_, err := in.amend(ctx, func(r record) record {
		if !r.rising() {
			return r
		}
		if keeps(r) && len(r.Keeping.Lines) > 0 {
			r.Kept = &kept{Line: r.Keeping.current().Name, Version: r.Raise.From, Since: in.b.Now().UTC()}
		}
		return r.ofVersion(r.Raise.Spec, image)
	})
	in.wake()
	return cmp.Or(err, s.opening())
}

// ofVersion is the record of an instance whose data is of another version by now.
func (r record) ofVersion(s backend.Spec, image Image) record {
	if r.Reached != nil {
		reached := *r.Reached
		reached.Version, reached.Build, reached.Settings = s.Version, s.Build, s.Settings
		r.Reached = &reached
	}
	if r.Stale = r.rising(); r.Stale {
		up := *r.Raise
		up.Stage = opening
		r.Raise = &up
	}
	r.Build, r.Image = image.FullVersion, image.Name
	return r
}

// rising is what is told of an upgrade that goes on.
func (s situation) rising(what string) error {
	return backstay.Errorf(backstay.Unavailable, "Upgrading from %s to %s: %s", s.record.Raise.From,
		s.record.Raise.Spec.Version, what)
}

// upgrading says how far an upgrade is whose server does not answer.
func (s situation) upgrading() string {
	switch told := s.rising(""); {
	case s.seen.err != nil && strings.HasPrefix(backstay.SentenceOf(s.seen.err), backstay.SentenceOf(told)):
		return backstay.SentenceOf(s.seen.err)
	case s.seen.err != nil && s.record.at(preparing):
		return backstay.SentenceOf(s.seen.err)
	case s.view.Raising.trouble != "":
		return s.view.Raising.trouble
	case s.view.Raising.works:
		return backstay.SentenceOf(s.rising("tables and users are brought over."))
	case s.record.at(converting) && s.view.Major == s.record.Raise.Spec.Version:
		return backstay.SentenceOf(s.rising("the server is about to start."))
	}
	return backstay.SentenceOf(s.rising("the server ends."))
}

// refresh makes a server that was upgraded as quick as it was before, while it serves.
func (in *instance) refresh(r record, w wish) {
	u, ok := in.b.Engines[r.Spec.Engine].(engine.HostedUpgrader)
	if !ok || !r.Stale || !in.refreshing.CompareAndSwap(false, true) {
		return
	}
	in.b.all.Go(func() {
		defer in.refreshing.Store(false)
		n, _ := in.into(r, w)
		err := u.Refresh(in.b.ctx, n)
		if err == nil {
			_, err = in.amend(in.b.ctx, func(r record) record {
				r.Stale = false
				return r
			})
		}
		if err != nil && in.b.ctx.Err() == nil {
			in.b.Log.Warn("an upgraded instance is not as quick as it was", "instance", in.id, "error", err)
		}
	})
}
