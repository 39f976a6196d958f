package cfapi

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// params are what a route takes as its query.
type params struct {
	names   []string
	order   []market.OrderKey // what the list can be sorted by; nil for what is no list
	include []string          // the values that include can have
	ignored bool              // whatever is asked is passed over
}

const (
	defaultPerPage = 50
	maxPerPage     = 5000
)

var (
	byName = []market.OrderKey{market.ByCreation, market.ByUpdate, market.ByName}
	byTime = []market.OrderKey{market.ByCreation, market.ByUpdate}
	// byNothing is for what has one order alone.
	byNothing = []market.OrderKey{}
	// byCreation is for what never changes.
	byCreation = []market.OrderKey{market.ByCreation}
)

// pages are the params of a list that has these filters besides.
func pages(order []market.OrderKey, names ...string) params {
	return none.ordered(order, append(names, "created_ats", "updated_ats", "order_by", "page", "per_page")...)
}

// ordered are the params of a list that takes these names alone.
func (p params) ordered(order []market.OrderKey, names ...string) params {
	return params{names: append(p.names, names...), order: order, include: p.include}
}

// including are the params with these related resources on offer.
func (p params) including(resources ...string) params {
	return params{names: append(p.names, "include"), order: p.order, include: resources}
}

// and are the params with these besides.
func (p params) and(names ...string) params {
	return params{names: append(p.names, names...), order: p.order, include: p.include}
}

// query is a checked query.
type query struct {
	values url.Values
	match  market.Match
	order  market.Order
	page   market.Page
}

func parseQuery(raw string, p params) (query, error) {
	if p.ignored {
		return query{}, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, errBadQuery("%s", err)
	}
	q := query{values: values}
	if err := q.check(p.names); err != nil {
		return q, err
	}
	for _, resource := range q.list("include") {
		if !slices.Contains(p.include, resource) {
			return q, errBadQuery("Invalid included resource: '%s'. Valid included resources are: %s", resource,
				quoted(p.include))
		}
	}
	if p.order == nil {
		return q, nil
	}
	if q.match, err = q.parseMatch(); err != nil {
		return q, err
	}
	if q.order, err = q.parseOrder(p.order); err != nil {
		return q, err
	}
	q.page, err = q.parsePage()
	return q, err
}

func (q query) check(names []string) error {
	var unknown []string
	for name, values := range q.values {
		switch {
		case !slices.Contains(names, withoutRelation(name)):
			unknown = append(unknown, name)
		case len(values) > 1:
			return errBadQuery("%s was given %d times; separate several values by commas", name, len(values))
		case !isText(values[0]):
			return errBadQuery("%s must be valid UTF-8 without NUL", name)
		}
	}
	if unknown == nil {
		return nil
	}
	slices.Sort(unknown)
	if len(names) == 0 {
		return errBadQuery("Unknown query parameter(s): %s. There are none", quoted(unknown))
	}
	valid := slices.Sorted(slices.Values(names))
	return errBadQuery("Unknown query parameter(s): %s. Valid parameters are: %s", quoted(unknown), quoted(valid))
}

// relations are how a time may lie to the one that is given.
var relations = []string{"gt", "gte", "lt", "lte"}

// withoutRelation is the name of a parameter that a relation may follow, as in created_ats[gt].
func withoutRelation(name string) string {
	for _, times := range []string{"created_ats", "updated_ats"} {
		if strings.HasPrefix(name, times+"[") {
			return times
		}
	}
	return name
}

func quoted[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = "'" + strings.ToValidUTF8(string(w), "�") + "'"
	}
	return strings.Join(all, ", ")
}

func (q query) parseMatch() (m market.Match, err error) {
	if q.values.Has("label_selector") {
		if m.Labels, err = market.ParseSelector(q.values.Get("label_selector")); err != nil {
			return m, errBadQuery("%s", backstay.SentenceOf(err))
		}
	}
	if m.Created, err = q.times("created_ats", "Created ats"); err != nil {
		return m, err
	}
	m.Updated, err = q.times("updated_ats", "Updated ats")
	return m, err
}

// times reads created_ats and its like. What clients know of a time are its seconds: after one means after
// all of it.
func (q query) times(name, title string) (t market.Times, err error) {
	if q.values.Has(name) {
		for _, text := range strings.Split(q.values.Get(name), ",") {
			at, err := parseTime(title, text)
			if err != nil {
				return t, err
			}
			t.Seconds = append(t.Seconds, at)
		}
	}
	for key := range q.values {
		related, ok := strings.CutPrefix(key, name+"[")
		if !ok {
			continue
		}
		relation := strings.TrimSuffix(related, "]")
		if !slices.Contains(relations, relation) {
			return t, errBadQuery("%s has an invalid relational operator: '%s'. Valid operators are: %s", title, relation,
				quoted(relations))
		}
		at, err := parseTime(title, q.values.Get(key))
		if err != nil {
			return t, err
		}
		if relation == "gt" || relation == "lte" {
			at = at.Add(time.Second)
		}
		switch {
		case relation[0] == 'g' && (t.Since == nil || at.After(*t.Since)):
			t.Since = &at
		case relation[0] == 'l' && (t.Before == nil || at.Before(*t.Before)):
			t.Before = &at
		}
	}
	return t, nil
}

func parseTime(title, text string) (time.Time, error) {
	const layout = "2006-01-02T15:04:05Z"
	at, err := time.Parse(layout, text)
	if err != nil || len(text) != len(layout) { // a fraction of a second is parsed, too
		err = errBadQuery("%s has an invalid timestamp format. Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'",
			title)
	}
	return at, err
}

func (q query) parseOrder(keys []market.OrderKey) (market.Order, error) {
	if !q.values.Has("order_by") {
		return market.Order{}, nil
	}
	key, descending := strings.CutPrefix(q.values.Get("order_by"), "-")
	if !slices.Contains(keys, market.OrderKey(key)) {
		return market.Order{}, errBadQuery("Order by can only be: %s", quoted(keys))
	}
	return market.Order{By: market.OrderKey(key), Descending: descending}, nil
}

func (q query) parsePage() (market.Page, error) {
	number, err := q.positive("page", "Page", 1, math.MaxInt32)
	if err != nil {
		return market.Page{}, err
	}
	size, err := q.positive("per_page", "Per page", defaultPerPage, maxPerPage)
	return market.Page{Number: number, Size: size}, err
}

func (q query) positive(name, title string, unset, limit int) (int, error) {
	if !q.values.Has(name) {
		return unset, nil
	}
	n, err := strconv.Atoi(q.values.Get(name))
	if err != nil || n < 1 || n > limit {
		return 0, errBadQuery("%s must be between 1 and %d", title, limit)
	}
	return n, nil
}

// ids is the value of a filter by typed ids; nil if it was not given.
func ids[T ~string](q query, name string) []T {
	words := q.list(name)
	if words == nil {
		return nil
	}
	typed := make([]T, len(words))
	for i, w := range words {
		typed[i] = T(w)
	}
	return typed
}

// list is the value of a filter; nil if it was not given. Values are separated by commas; a comma
// within one is escaped once more, so it arrives as "%2C". A filter without a value means the empty
// one, not none.
func (q query) list(name string) []string {
	if !q.values.Has(name) {
		return nil
	}
	words := strings.Split(q.values.Get(name), ",")
	for i, w := range words {
		if plain, err := url.PathUnescape(w); err == nil && isText(plain) {
			words[i] = plain
		}
	}
	return words
}

// lists tells whether a filter that was given has the value.
func (q query) lists(name, value string) bool {
	return !q.values.Has(name) || slices.Contains(q.list(name), value)
}

// among is the value of a filter that has a fixed set of values.
func (q query) among(name, title string, valid ...string) ([]string, error) {
	words := q.list(name)
	for _, w := range words {
		if !slices.Contains(valid, w) {
			return nil, errBadQuery("%s must be one of %s", title, quoted(valid))
		}
	}
	return words, nil
}

// boolean is the value of a filter that is true or false; nil if it was not given.
func (q query) boolean(name, title string) (*bool, error) {
	if !q.values.Has(name) {
		return nil, nil
	}
	v := q.values.Get(name)
	if v != "true" && v != "false" {
		return nil, errBadQuery("%s only accepts values 'true' or 'false'", title)
	}
	is := v == "true"
	return &is, nil
}

// includes tells whether this related resource is wanted in the same answer.
func (q query) includes(resource string) bool { return slices.Contains(q.list("include"), resource) }

// fields tells whether any of these related resources is wanted in the same answer. Whole ones are
// given, whichever of their fields were asked for.
func (q query) fields(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return q.values.Has("fields[" + n + "]") })
}
