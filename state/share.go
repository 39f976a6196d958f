package state

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

const shareColumns = `h.id, h.instance_id, h.space_id, h.created_at,
	(SELECT count(DISTINCT b.app_id) FROM market.bindings b JOIN market.apps a ON a.id = b.app_id
		WHERE b.instance_id = h.instance_id AND a.space_id = h.space_id)`

func scanShare(r pgx.CollectableRow) (h backstay.Share, err error) {
	err = r.Scan(&h.ID, &h.InstanceID, &h.SpaceID, &h.CreatedAt, &h.BoundApps)
	return h, err
}

func (s *Store) Shares(ctx context.Context, f market.ShareFilter) (market.List[backstay.Share], error) {
	q := query{columns: shareColumns, from: "market.shares h", alias: "h"}
	whereIn(&q, "h.id", f.IDs)
	whereIn(&q, "h.instance_id", f.InstanceIDs)
	whereIn(&q, "h.space_id", f.SpaceIDs)
	return selectList(ctx, s, q, market.Order{}, market.Page{}, scanShare)
}

// knownIn narrows a list of instances to those that are in the spaces, or shared with them; nil does not.
func knownIn(q *query, spaces []backstay.SpaceID) {
	if spaces == nil {
		return
	}
	q.where = append(q.where, knownSQL("= ANY("+q.arg(texts(spaces))+")"))
}

// knownSQL narrows to instances whose space meets the condition, or a space that they are shared with. Two
// lists of ids in one use the indexes; two conditions with an OR between them look at every instance.
func knownSQL(condition string) string {
	return fmt.Sprintf(`i.id IN (SELECT o.id FROM market.instances o WHERE o.space_id %[1]s UNION ALL
		SELECT h.instance_id FROM market.shares h WHERE h.space_id %[1]s)`, condition)
}

// instanceSeenBy narrows a list of instances to those that are in spaces that the viewer sees, or shared
// with them. Nil does not narrow.
func instanceSeenBy(q *query, viewer *backstay.UserID) {
	if viewer == nil {
		return
	}
	q.where = append(q.where, knownSQL("IN ("+spacesSeenBy(q.arg(*viewer))+")"))
}

func (s *Store) AddShares(ctx context.Context, id backstay.InstanceID, shares []backstay.Share,
	e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		i, err := lockShareable(ctx, tx, id)
		if err != nil {
			return err
		}
		for _, h := range shares {
			if err := addShare(ctx, tx, i, h); err != nil {
				return err
			}
		}
		return recordEvent(ctx, tx, e)
	})
}

// lockShareable locks an instance, and refuses one that is not there for good.
func lockShareable(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) (backstay.Instance, error) {
	i, err := lockInstance(ctx, tx, id)
	if err != nil {
		return i, err
	}
	switch op := i.LastOperation; {
	case op.Type == backstay.Create && op.State == backstay.InProgress:
		err = backstay.Errorf(backstay.Invalid,
			"Service instance is currently being created. It can be shared after its creation succeeded.")
	case op.Type == backstay.Delete && op.State == backstay.InProgress:
		err = backstay.Errorf(backstay.Invalid, "The service instance is getting deleted.")
	default:
		err = market.NotCreated(i, "shared")
	}
	return i, err
}

// addShare shares a locked instance with one space. The space is locked against instances on their way
// into it (see checkNotLent), so that a name is never there twice.
func addShare(ctx context.Context, tx pgx.Tx, i backstay.Instance, h backstay.Share) error {
	sp, err := selectOne(ctx, tx, scanSpace, `SELECT `+spaceColumns+` FROM market.spaces s WHERE id = $1 FOR UPDATE`,
		h.SpaceID)
	if err != nil {
		return orNotFound(err, "Space")
	}
	var owned, lent bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.instances WHERE space_id = $1 AND name = $2), `+lentSQL,
		h.SpaceID, i.Name).Scan(&owned, &lent)
	switch {
	case err != nil:
		return err
	case owned:
		return backstay.Errorf(backstay.Taken, "A service instance called %s already exists in %s.", i.Name, sp.Name)
	case lent:
		return backstay.Errorf(backstay.Taken, "A service instance called %s has already been shared with %s.", i.Name,
			sp.Name)
	}
	_, err = tx.Exec(ctx, `INSERT INTO market.shares (id, instance_id, space_id) VALUES ($1, $2, $3)`, h.ID, i.ID,
		h.SpaceID)
	return err
}

// lentSQL tells whether an instance of the name $2 is shared with the space $1.
const lentSQL = `EXISTS (SELECT FROM market.shares h JOIN market.instances i ON i.id = h.instance_id
	WHERE h.space_id = $1 AND i.name = $2)`

// checkNotLent refuses a name for an instance of a space if one that is shared with it has that name. It
// is asked after the instance was written, or before it is renamed; either way the space is locked
// against new shares until the transaction ends.
func checkNotLent(ctx context.Context, tx pgx.Tx, space backstay.SpaceID, name string) error {
	if _, err := tx.Exec(ctx, `SELECT FROM market.spaces WHERE id = $1 FOR KEY SHARE`, space); err != nil {
		return err
	}
	var lent bool
	err := tx.QueryRow(ctx, `SELECT `+lentSQL, space, name).Scan(&lent)
	if err == nil && lent {
		err = nameTaken(name)
	}
	return err
}

// checkRename refuses another name for a locked instance that is shared, or that a space knows another by.
func checkRename(ctx context.Context, tx pgx.Tx, i backstay.Instance, name *string) error {
	if name == nil || *name == i.Name {
		return nil
	}
	shared, err := isShared(ctx, tx, i.ID)
	if err != nil {
		return err
	}
	if shared {
		return backstay.Errorf(backstay.Invalid, "Service instances that have been shared cannot be renamed.")
	}
	return checkNotLent(ctx, tx, i.SpaceID, *name)
}

func isShared(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) (shared bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.shares WHERE instance_id = $1)`, id).Scan(&shared)
	return shared, err
}

// checkUnshared refuses a locked instance that is shared.
func checkUnshared(ctx context.Context, tx pgx.Tx, i backstay.Instance) error {
	shared, err := isShared(ctx, tx, i.ID)
	if err == nil && shared {
		err = backstay.Errorf(backstay.InUse, "Service instances must be unshared before they can be deleted. "+
			"Unsharing %s will automatically delete any bindings that have been made to applications in other spaces.", i.Name)
	}
	return err
}

// checkLent refuses an app of a space that a locked instance is not shared with, or not any more.
func checkLent(ctx context.Context, tx pgx.Tx, i backstay.Instance, space backstay.SpaceID) error {
	var ending *bool
	err := tx.QueryRow(ctx, `SELECT (SELECT ending FROM market.shares WHERE instance_id = $1 AND space_id = $2)`, i.ID,
		space).Scan(&ending)
	switch {
	case err != nil:
		return err
	case ending == nil:
		return backstay.Errorf(backstay.Invalid, "The service instance and the app are in different spaces.")
	case *ending:
		return backstay.Errorf(backstay.Invalid, "The service instance %s is being unshared from the app's space.", i.Name)
	}
	return nil
}

func (s *Store) AcceptUnshare(ctx context.Context, h backstay.Share, e backstay.Event, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		i, err := lockIdleInstance(ctx, tx, h.InstanceID)
		if err != nil {
			return err
		}
		var binding bool
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.bindings b JOIN market.apps a ON a.id = b.app_id
			WHERE b.instance_id = $1 AND a.space_id = $2 AND b.op_state = 'in progress')`, h.InstanceID,
			h.SpaceID).Scan(&binding)
		if err != nil {
			return err
		}
		if binding {
			return backstay.Errorf(backstay.Busy, "An operation for a service binding of service instance %s is in progress.",
				i.Name)
		}
		tag, err := tx.Exec(ctx, `UPDATE market.shares SET ending = true WHERE id = $1 AND NOT ending`, h.ID)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return backstay.Errorf(backstay.Busy, "The service instance %s is being unshared already.", i.Name)
		}
		return s.acceptJob(ctx, tx, e, j)
	})
}

func (s *Store) FinishUnshare(ctx context.Context, id backstay.ShareID, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		change := `UPDATE market.shares SET ending = false WHERE id = $1`
		if j.State == backstay.JobComplete {
			change = `DELETE FROM market.shares WHERE id = $1`
		}
		if _, err := tx.Exec(ctx, change, id); err != nil {
			return err
		}
		return s.finishJob(ctx, tx, j)
	})
}
