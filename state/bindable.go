package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// lockBindable locks the binding's instance and app, and refuses an instance that cannot be bound to what b names.
func lockBindable(ctx context.Context, tx pgx.Tx, b backstay.Binding) (backstay.Instance, error) {
	i, err := lockIdleInstance(ctx, tx, b.InstanceID)
	if err != nil {
		return i, err
	}
	if err := market.NotCreated(i, "bound"); err != nil {
		return i, err
	}
	if b.Type != backstay.AppBinding {
		return i, nil
	}
	var space backstay.SpaceID
	err = tx.QueryRow(ctx, `SELECT space_id FROM market.apps WHERE id = $1 FOR NO KEY UPDATE`, b.AppID).Scan(&space)
	if err != nil {
		return i, orNotFound(err, "App")
	}
	if err := checkBindingName(ctx, tx, b); err != nil {
		return i, err
	}
	if space == i.SpaceID {
		return i, nil
	}
	return i, checkLent(ctx, tx, i, space)
}

// checkBindingName refuses a name by which the locked app is bound to another instance.
func checkBindingName(ctx context.Context, tx pgx.Tx, b backstay.Binding) error {
	var taken bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.bindings
		WHERE app_id = $1 AND name = $2 AND name <> '' AND instance_id <> $3)`, b.AppID, b.Name, b.InstanceID).Scan(&taken)
	if err == nil && taken {
		err = backstay.Errorf(backstay.Taken,
			"The binding name is invalid. App binding names must be unique. "+
				"The app already has a binding with name '%s'.", b.Name)
	}
	return err
}

func keyTaken(err error, name string) error {
	if violates(err, "binding_key_name") {
		return backstay.Errorf(backstay.Taken, "The binding name is invalid. Key binding names must be unique. The "+
			"service instance already has a key binding with name '%s'.", name)
	}
	return err
}

// makeWay removes earlier bindings to a locked instance that stand in b's place and never came to be. It refuses b if
// an earlier one is in the way: there may be up to limit of an app.
func makeWay(ctx context.Context, tx pgx.Tx, i backstay.Instance, b backstay.Binding, limit int) error {
	rows, err := tx.Query(ctx, `SELECT `+bindingColumns+` FROM market.bindings b
			JOIN market.instances i ON i.id = b.instance_id LEFT JOIN market.apps a ON a.id = b.app_id
		WHERE b.instance_id = $1 AND b.type = $2 AND coalesce(b.app_id, '') = $3 AND (b.type = 'app' OR b.name = $4)
		ORDER BY b.created_at, b.id`, b.InstanceID, b.Type, b.AppID, b.Name)
	if err != nil {
		return err
	}
	earlier, err := pgx.CollectRows(rows, scanBinding)
	if err != nil {
		return err
	}
	standing := 0
	for _, e := range earlier {
		if op := e.LastOperation; op.Type == backstay.Create && op.State == backstay.Failed {
			if _, err := tx.Exec(ctx, `DELETE FROM market.bindings WHERE id = $1`, e.ID); err != nil {
				return err
			}
			continue
		}
		if err := checkBeside(i, e, b, limit); err != nil {
			return err
		}
		standing++
	}
	if b.Type == backstay.AppBinding && standing >= limit {
		return backstay.Errorf(backstay.Invalid, "The app has too many bindings to this service instance (limit: %d). "+
			"Consider deleting existing/orphaned bindings.", limit)
	}
	return nil
}

// checkBeside refuses a binding beside an earlier one of the same app, and one in the place of what is being deleted,
// which is not to be taken for what is asked for.
func checkBeside(i backstay.Instance, earlier, b backstay.Binding, limit int) error {
	op := earlier.LastOperation
	switch {
	case op.Type == backstay.Delete && op.State == backstay.InProgress:
		return backstay.Errorf(backstay.Busy, "An operation for a service binding of service instance %s is in progress.",
			i.Name)
	case op.Type == backstay.Delete:
		return backstay.Errorf(backstay.Invalid,
			"The binding is there still, and its deletion failed. Delete it again first.")
	case b.Type == backstay.KeyBinding: // whose name is unique anyway
	case limit == 1:
		return backstay.Errorf(backstay.Taken, "The app is already bound to the service instance.")
	case op.State == backstay.InProgress:
		return backstay.Errorf(backstay.Invalid,
			"There is already a binding in progress for this service instance and app (binding guid: %s)", earlier.ID)
	case earlier.Name != b.Name:
		return backstay.Errorf(backstay.Invalid,
			"The binding name cannot be changed for the same app and service instance")
	}
	return nil
}

// takesOver are created_at and bound_since of a new binding of the app $5 to the instance $4. Clients tell the newest
// from outdated ones by times of whole seconds, so it is of another second than those that are there.
const takesOver = `greatest(now(), (SELECT date_trunc('second', max(t.created_at)) + interval '1 second'
		FROM market.bindings t WHERE t.instance_id = $4 AND t.app_id = $5)),
	coalesce((SELECT min(t.bound_since) FROM market.bindings t WHERE t.instance_id = $4 AND t.app_id = $5), now())`
