package osb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// What a broker of ours tells a platform without being asked about an instance: extensions that are each a request of
// their own, "GET /v2/backstay/NAME" (docs/decisions/our-ends-tell-of-changes.md).
const (
	// changes is the extension by which a platform hears at once what the broker changes of its own accord.
	changes = "changes"
	// health is the one by which it hears which instances do not serve now.
	health = "health"
	// troubles is the one by which it hears what is wrong with those that serve.
	troubles = "troubles"
)

// overwrites is the extension by which a platform hears whether an update's parameters put earlier data in the place of
// what an instance holds: "PUT /v2/backstay/overwrites", with the parameters.
const overwrites = "overwrites"

type overwritesBody struct {
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Overwrites *bool           `json:"overwrites,omitempty"` // in the answer
}

// What a broker of ours says is no longer, in bytes: the name of a kind of trouble, and a sentence.
const (
	maxKind = 64
	maxLine = 2000
)

type changesBody struct {
	Changed []backstay.InstanceID `json:"changed"`
	Seen    int64                 `json:"seen"`
}

type healthBody struct {
	Unhealthy map[backstay.InstanceID]string `json:"unhealthy"`
}

type troublesBody struct {
	Troubles   map[backstay.InstanceID][]backstay.Trouble `json:"troubles"`
	Incomplete bool                                       `json:"incomplete,omitempty"` // there may be others
}

// telling serves the requests of these extensions.
func (h *Handler) telling(mux *http.ServeMux) {
	for name, e := range map[string]struct {
		method string
		tell   func(*http.Request) (any, error)
	}{
		changes: {http.MethodGet, h.awaitChanges}, health: {http.MethodGet, tellHealth},
		troubles: {http.MethodGet, tellTroubles}, overwrites: {http.MethodPut, tellOverwrites},
		copies: {http.MethodPut, tellSource}, drills: {http.MethodPut, hearOfDrills},
	} {
		mux.HandleFunc(e.method+" /v2/backstay/"+name, func(w http.ResponseWriter, r *http.Request) {
			body, err := e.tell(r)
			switch {
			case backstay.KindOf(err) == backstay.Unsupported:
				noSuchRequest(w, r)
			case err != nil:
				h.fail(w, r, err, http.StatusNotFound)
			default:
				w.Header().Set(extensionHeader, name)
				respond(w, http.StatusOK, body)
			}
		})
	}
}

// errSilent is the error of a broker that does not tell what it is asked for.
var errSilent = backstay.Errorf(backstay.Unsupported, "The service broker does not tell that.")

// errUnread is the error of a broker of which is not known yet what it tells.
var errUnread = backstay.Errorf(backstay.Unavailable, "The service broker has not told yet what it offers.")

// linger is how long a platform is kept waiting for changes: less than what stands between us and it lets a connection
// be silent for.
func (h *Handler) linger() time.Duration { return cmp.Or(h.Linger, 25*time.Second) }

// awaitChanges answers as soon as there are changes since the moment that the platform names, or after a while without
// any.
func (h *Handler) awaitChanges(r *http.Request) (any, error) {
	watcher, ok := askingOf(r.Context()).broker.(backstay.Watcher)
	if !ok || !watcher.Watches(r.Context()) {
		return nil, errSilent
	}
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	if err != nil || after < 0 {
		return nil, backstay.Errorf(backstay.Invalid, "after is not a moment: begin with 0, and go on with what was seen.")
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.linger())
	defer cancel()
	go func() {
		select {
		case <-h.Ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	changed, seen, err := watcher.AwaitChanges(ctx, after)
	if err != nil && ctx.Err() != nil {
		changed, seen, err = nil, after, nil
	}
	if changed == nil {
		changed = []backstay.InstanceID{}
	}
	return changesBody{changed, seen}, err
}

func tellHealth(r *http.Request) (any, error) {
	teller, ok := askingOf(r.Context()).broker.(backstay.HealthTeller)
	if !ok {
		return nil, errSilent
	}
	unhealthy, err := teller.Unhealthy(r.Context())
	return healthBody{unhealthy}, err
}

// tellTroubles tells those that are known also if not all of them are.
func tellTroubles(r *http.Request) (any, error) {
	a := askingOf(r.Context())
	teller, ok := a.broker.(backstay.TroubleTeller)
	if !ok {
		return nil, errSilent
	}
	told, err := teller.Troubles(r.Context())
	if backstay.KindOf(err) == backstay.Unsupported {
		return nil, err
	}
	return troublesBody{told, err != nil}, nil
}

func tellOverwrites(r *http.Request) (any, error) {
	o, ok := askingOf(r.Context()).broker.(backstay.Overwriter)
	if !ok {
		return nil, errSilent
	}
	var asked overwritesBody
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return nil, backstay.Wrapf(err, backstay.Invalid, "The request is not a JSON object.")
	}
	does, err := o.Overwrites(r.Context(), asked.Parameters)
	return overwritesBody{Overwrites: &does}, err
}

// Overwrites asks a broker of ours what an update's parameters do.
func (c *Client) Overwrites(ctx context.Context, parameters json.RawMessage) (bool, error) {
	c.extended(ctx, overwrites, backstay.Call{}) // read the catalog if it was not
	if err := ended(ctx); err != nil {
		return false, err
	}
	var b overwritesBody
	err := c.told(ctx, overwrites, request{method: http.MethodPut, body: overwritesBody{Parameters: parameters}}, &b)
	if err == nil && b.Overwrites == nil {
		err = backstay.Errorf(backstay.Unavailable, "The service broker does not tell what the parameters do.")
	}
	return err == nil && *b.Overwrites, err
}

// Watches tells whether the broker is one of ours that tells of its changes. For this alone a catalog is read once.
func (c *Client) Watches(ctx context.Context) bool {
	if has, read := c.known.hasRead(changes); read {
		return has
	}
	return c.extended(ctx, changes, backstay.Call{})
}

// watchAgain is how soon a broker is asked for changes again: one that answers at once each time keeps nobody busy.
const watchAgain = time.Second

// AwaitChanges asks a broker of ours once for changes, which has it wait if there are none.
func (c *Client) AwaitChanges(
	ctx context.Context, after int64,
) (changed []backstay.InstanceID, seen int64, err error) {
	if err := c.known.awaitTurn(ctx); err != nil {
		return nil, after, err
	}
	var b changesBody
	query := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if err := c.told(ctx, changes, request{method: http.MethodGet, query: query}, &b); err != nil {
		return nil, after, err
	}
	return slices.DeleteFunc(b.Changed, isNoID), b.Seen, nil
}

// isNoID tells what no platform calls an instance.
func isNoID(id backstay.InstanceID) bool { return id == "" || !printable(string(id), maxID) }

// Unhealthy asks a broker of ours which instances do not serve.
func (c *Client) Unhealthy(ctx context.Context) (map[backstay.InstanceID]string, error) {
	var b healthBody
	err := c.told(ctx, health, request{method: http.MethodGet}, &b)
	maps.DeleteFunc(b.Unhealthy, func(id backstay.InstanceID, _ string) bool { return isNoID(id) })
	for id, reason := range b.Unhealthy {
		b.Unhealthy[id] = line(reason)
	}
	return b.Unhealthy, err
}

// line is what a broker says in the midst of what we say: it looks like nothing else, and leaves room for the rest.
func line(words string) string {
	words = strings.Join(strings.Fields(shown(words)), " ")
	if len(words) > maxLine {
		words = strings.ToValidUTF8(words[:maxLine], "") + " …"
	}
	return words
}

// Troubles asks a broker of ours what is wrong with instances.
func (c *Client) Troubles(ctx context.Context) (map[backstay.InstanceID][]backstay.Trouble, error) {
	var b troublesBody
	err := c.told(ctx, troubles, request{method: http.MethodGet}, &b)
	maps.DeleteFunc(b.Troubles, func(id backstay.InstanceID, _ []backstay.Trouble) bool { return isNoID(id) })
	for id, all := range b.Troubles {
		all = slices.DeleteFunc(all, func(t backstay.Trouble) bool { return t.Kind == "" || !printable(t.Kind, maxKind) })
		for i := range all {
			all[i].Sentence = line(all[i].Sentence)
		}
		b.Troubles[id] = all
	}
	if err == nil && b.Incomplete {
		err = backstay.Errorf(backstay.Unavailable, "The service broker does not know all troubles now.")
	}
	return b.Troubles, err
}

// told asks for what an extension tells. It is Unsupported where the broker has no such extension. Its catalog is not
// read for this: while nobody has, it is not known what the broker tells.
func (c *Client) told(ctx context.Context, extension string, r request, v any) error {
	switch has, read := c.known.hasRead(extension); {
	case !read:
		return errUnread
	case !has:
		return errSilent
	}
	r.path, r.success = "backstay/"+extension, []int{http.StatusOK}
	a, err := c.ask(ctx, r, v)
	if a.extension != extension && (a.status == http.StatusNotFound || err == nil) {
		return c.doubt(ctx, extension)
	}
	return err
}

// errAside is the error of a broker that has an extension, and in whose place something else has answered.
var errAside = backstay.Errorf(backstay.Unavailable, "Something else has answered in the place of the service broker.")

// doubt is the error for an answer that is not of the extension. It may be a proxy's, whose broker is away for a
// moment: that a broker has the extension no more, only its catalog tells. Until it does, nothing that the broker would
// have told is known.
func (c *Client) doubt(ctx context.Context, extension string) error {
	if !c.known.mayDoubt() {
		return errAside
	}
	if _, err := c.RawCatalog(ctx, backstay.Call{}); err != nil {
		return errAside
	}
	if has, _ := c.known.hasRead(extension); has {
		return errAside
	}
	return errSilent
}

// check refuses what no broker of ours says.
func (b *changesBody) check() error {
	if b.Seen < 0 {
		return errors.New("a moment before everything")
	}
	return nil
}
