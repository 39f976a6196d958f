package state

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// metadataTables is where the metadata of each kind of resource lies.
var metadataTables = map[market.MetadataOf]string{
	market.OfInstance: "market.instances",
	market.OfBinding:  "market.bindings",
	market.OfBroker:   "market.brokers",
	market.OfOffering: "market.offerings",
	market.OfPlan:     "market.plans",
	market.OfUser:     "uaa.users",
}

func (s *Store) UpdateMetadata(ctx context.Context, of market.MetadataOf, id string, u backstay.MetadataUpdate,
	e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := updateMetadata(ctx, tx, metadataTables[of], id, u); err != nil {
			return orNotFound(err, string(of))
		}
		return recordEvent(ctx, tx, e)
	})
}

// updateMetadata sets the keys that have a value, and removes those that have none.
func updateMetadata[ID ~string](ctx context.Context, tx pgx.Tx, table string, id ID, u backstay.MetadataUpdate) error {
	if u.Empty() {
		return nil
	}
	var labels, annotations int
	err := tx.QueryRow(ctx, `UPDATE `+table+` SET updated_at = now(),
			labels = jsonb_strip_nulls(labels || $2), annotations = jsonb_strip_nulls(annotations || $3)
		WHERE id = $1 RETURNING (SELECT count(*) FROM jsonb_object_keys(labels)), (SELECT count(*)
			FROM jsonb_object_keys(annotations))`,
		string(id), object(u.Labels), object(u.Annotations)).Scan(&labels, &annotations)
	if err != nil {
		return err
	}
	return market.CheckAmount(u, labels, annotations)
}

// wanted is a name that was asked for; only then can it be taken.
func wanted(name *string) string {
	if name == nil {
		return ""
	}
	return *name
}

// object is a map as a JSON object, even if it is nil.
func object[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// match narrows the list by what every resource has; the table that orders it has it too.
func (q *query) match(m market.Match) {
	for _, r := range m.Labels {
		q.require(r)
	}
	q.during("created_at", m.Created)
	q.during("updated_at", m.Updated)
}

// require asks in a way that the indexes of labels can answer.
func (q *query) require(r market.Requirement) {
	column, key := q.alias+".labels", q.arg(r.Key)
	condition := column + " ? " + key
	switch {
	case len(r.Values) == 1:
		condition = column + " @> jsonb_build_object(" + key + "::text, " + q.arg(r.Values[0]) + "::text)"
	case r.Values != nil:
		condition = "(" + condition + " AND " + column + " ->> " + key + " = ANY(" + q.arg(r.Values) + "))"
	}
	if r.Not {
		condition = "NOT " + condition
	}
	q.where = append(q.where, condition)
}

func (q *query) during(column string, t market.Times) {
	column = q.alias + "." + column
	if t.Seconds != nil {
		q.where = append(q.where, "date_trunc('second', "+column+") = ANY("+q.arg(t.Seconds)+")")
	}
	if t.Since != nil {
		q.where = append(q.where, column+" >= "+q.arg(*t.Since))
	}
	if t.Before != nil {
		q.where = append(q.where, column+" < "+q.arg(*t.Before))
	}
}

// arg adds an argument, and is the place that stands for it.
func (q *query) arg(value any) string {
	q.args = append(q.args, value)
	return fmt.Sprintf("$%d", len(q.args))
}
