package state

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// query builds every list: one SELECT over from, narrowed by filters, ordered and cut to a page.
type query struct {
	columns string
	from    string // table and alias, with joins
	alias   string // of the table whose created_at, updated_at, name and id order the list
	tie     string // orders rows that are otherwise equal, before their id; may be empty
	where   []string
	args    []any
}

// whereIn narrows the list to rows whose column is one of values; a nil slice does not narrow.
func whereIn[E ~string](q *query, column string, values []E) {
	whereAmong(q, column+" = ANY(%s)", values)
}

// whereAmong narrows the list by a condition that names values, an array, as %s; a nil slice does not narrow.
func whereAmong[E ~string](q *query, condition string, values []E) {
	if values == nil {
		return
	}
	q.where = append(q.where, fmt.Sprintf(condition, q.arg(texts(values))))
}

// texts are values as the database takes them.
func texts[E ~string](values []E) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

// whereIs narrows the list to rows whose column has the value; nil does not narrow.
func whereIs(q *query, column string, value *bool) {
	if value == nil {
		return
	}
	q.where = append(q.where, column+" = "+q.arg(*value))
}

// seenIn narrows the list to what lies in spaces that the viewer sees: by a role in the space, or as a
// manager of its organization. Nil does not narrow.
func seenIn(q *query, column string, viewer *backstay.UserID) {
	if viewer == nil {
		return
	}
	q.where = append(q.where, column+" IN ("+spacesSeenBy(q.arg(*viewer))+")")
}

// spacesSeenBy selects the spaces that the user sees whose id the argument names.
func spacesSeenBy(argument string) string {
	return fmt.Sprintf(`SELECT v.space_id FROM market.roles v WHERE v.user_id = %[1]s AND v.space_id IS NOT NULL
		UNION ALL SELECT vs.id FROM market.roles v JOIN market.spaces vs ON vs.organization_id = v.organization_id
		WHERE v.user_id = %[1]s AND v.type = 'organization_manager'`, argument)
}

// seenBy narrows the list by a condition on the viewer, whose id it names as %[1]s. Nil does not narrow.
func seenBy(q *query, condition string, viewer *backstay.UserID) {
	if viewer == nil {
		return
	}
	q.where = append(q.where, fmt.Sprintf(condition, q.arg(*viewer)))
}

func (q *query) condition() string {
	if len(q.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(q.where, " AND ")
}

func (q *query) orderBy(o market.Order) string {
	key := o.By
	if key == "" {
		key = market.ByCreation
	}
	direction := ""
	if o.Descending {
		direction = " DESC"
	}
	tie := q.alias + ".id"
	if q.tie != "" {
		tie = q.tie + direction + ", " + tie
	}
	column := q.alias + "." + string(key)
	if key == market.ByName {
		column, tie = "lower("+column+")", column+direction+", "+tie
	}
	return fmt.Sprintf(" ORDER BY %s%s, %s%s", column, direction, tie, direction)
}

// selectList returns the page of q's rows with the count of all of them. The zero Page is everything.
func selectList[T any](ctx context.Context, s *Store, q query, o market.Order, p market.Page,
	scan pgx.RowToFunc[T]) (market.List[T], error) {
	sql := "SELECT " + q.columns + " FROM " + q.from + q.condition() + q.orderBy(o)
	if p.Size > 0 {
		sql += fmt.Sprintf(" LIMIT %d OFFSET %d", p.Size, (max(p.Number, 1)-1)*p.Size)
	}
	rows, err := s.pool.Query(ctx, sql, q.args...)
	if err != nil {
		return market.List[T]{}, err
	}
	items, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return market.List[T]{}, err
	}
	l := market.List[T]{Items: items, Total: len(items)}
	if p.Size > 0 && (len(items) == p.Size || p.Number > 1) {
		err = s.pool.QueryRow(ctx, "SELECT count(*) FROM "+q.from+q.condition(), q.args...).Scan(&l.Total)
	}
	return l, err
}

// violates tells whether err is the violation of the named constraint or unique index.
func violates(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.ConstraintName == constraint
}

// orNotFound turns the absence of a row into NotFound with a sentence as Cloud Foundry has it.
func orNotFound(err error, noun string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return backstay.Errorf(backstay.NotFound, "%s not found", noun)
	}
	return err
}

// orInvalid turns the absence of a row into Invalid with this sentence.
func orInvalid(err error, sentence string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return backstay.Errorf(backstay.Invalid, "%s", sentence)
	}
	return err
}

// querier is the pool, or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// selectOne runs a query for a single row.
func selectOne[T any](ctx context.Context, q querier, scan pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		var zero T
		return zero, err
	}
	return pgx.CollectExactlyOneRow(rows, scan)
}

// selectColumn collects the one column that a query returns.
func selectColumn[T any](ctx context.Context, q querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}
