package osb

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/turn"
)

// What our ends say to each other besides the specification (docs/decisions/our-ends-admit-first.md). A catalog lists
// it, in a field that no other platform looks for; a broker without that field is asked for nothing of it.

// admission is the extension by which a platform asks whether a request would be refused, before it has promised
// anything to its user. The same request goes to an address of its own, and nothing is made.
const admission = "admission"

// admissionPath stands before the path of a request that only asks whether it would be refused, below "/v2/".
const admissionPath = "backstay/admission/"

// extensionHeader is on each answer that an extension gives. What comes without it is somebody else's word, as that of
// a proxy, or of a broker that has the extension no more.
const extensionHeader = "X-Backstay-Extension"

// doneHeader is the key of an operation that was over when it was answered. The specification has none for it: what is
// done has no description there, as that a change waits for the maintenance window.
const doneHeader = "X-Backstay-Operation"

// extendedCatalog is a catalog with what there is besides the specification.
type extendedCatalog struct {
	catalogBody
	Extensions []string `json:"backstay_extensions,omitempty"`
}

// extensionsOf are those that a broker's catalog is told with.
func extensionsOf(ctx context.Context, b backstay.Broker) (all []string) {
	if _, ok := b.(backstay.Admitter); ok {
		all = append(all, admission)
	}
	if w, ok := b.(backstay.Watcher); ok && w.Watches(ctx) {
		all = append(all, changes)
	}
	if _, ok := b.(backstay.HealthTeller); ok {
		all = append(all, health)
	}
	if _, ok := b.(backstay.TroubleTeller); ok {
		all = append(all, troubles)
	}
	if _, ok := b.(backstay.Overwriter); ok {
		all = append(all, overwrites)
	}
	if _, ok := b.(backstay.Copier); ok {
		all = append(all, copies)
	}
	if _, ok := b.(backstay.DrillHolder); ok {
		all = append(all, drills)
	}
	return all
}

// admissions serves the requests that only ask whether they would be refused. They go the way of those that they are
// like, through the library, up to where the broker is asked.
func (h *Handler) admissions(library http.Handler) http.Handler {
	mux := http.NewServeMux()
	for route, next := range map[string]http.Handler{
		"PUT " + instanceRoute: h.withCatalog(library), "PATCH " + instanceRoute: library, "PUT " + bindingRoute: library,
	} {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(extensionHeader, admission)
			next.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("/", noSuchRequest)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := askingOf(r.Context())
		if a.admitter, _ = a.broker.(backstay.Admitter); a.admitter == nil {
			noSuchRequest(w, r)
			return
		}
		like, address := *r, *r.URL
		address.Path = withoutAdmission(address.Path)
		address.RawPath = withoutAdmission(address.RawPath)
		like.URL = &address
		mux.ServeHTTP(w, &like)
	})
}

func withoutAdmission(path string) string {
	return strings.Replace(path, "/v2/"+admissionPath, "/v2/", 1)
}

// AdmitProvision asks a broker of ours whether it would refuse an instance. Any other admits everything.
func (c *Client) AdmitProvision(ctx context.Context, r backstay.ProvisionRequest) error {
	return c.admit(ctx, provisionRequest(r))
}

// AdmitUpdate is to Update what AdmitProvision is to Provision.
func (c *Client) AdmitUpdate(ctx context.Context, r backstay.UpdateRequest) error {
	return c.admit(ctx, updateRequest(r))
}

// AdmitBind is to Bind what AdmitProvision is to Provision.
func (c *Client) AdmitBind(ctx context.Context, r backstay.BindRequest) error {
	return c.admit(ctx, bindRequest(r))
}

// admissionPatience is how long a user waits for a broker that may have no objection.
const admissionPatience = 5 * time.Second

// admit asks whether a request would be refused. A broker that does not say so refuses nothing: the request itself will
// tell what is wrong.
func (c *Client) admit(ctx context.Context, r request) error {
	limited, cancel := context.WithTimeout(ctx, min(admissionPatience, c.timeout()))
	defer cancel()
	if !c.extended(limited, admission, r.call) {
		return ended(ctx)
	}
	r.path = admissionPath + r.path
	a, err := c.send(limited, r)
	if err != nil || a.extension != admission || a.status < 400 || a.status == http.StatusInternalServerError {
		return ended(ctx)
	}
	err = r.judge(a, nil)
	f := backstay.FailureOf(err)
	f.Orphan = false // nothing was made
	return backstay.WithFailure(err, f)
}

// ended is the error of whoever waits no longer.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("ask the broker: %w", context.Cause(ctx))
}

// extensions are what a client knows of a broker's. They are in its catalog, whoever reads that.
type extensions struct {
	reading turn.Turn // of whoever reads the catalog for this alone

	mu     sync.Mutex
	all    []string
	read   bool      // the catalog was
	readAt time.Time // or when it could not be

	watchedAt time.Time // when the broker was last asked for changes
	doubtedAt time.Time // when its catalog was read since something else seemed to answer
}

// awaitTurn waits until the broker may be asked for changes again.
func (e *extensions) awaitTurn(ctx context.Context) error {
	e.mu.Lock()
	now := time.Now()
	at := now
	if next := e.watchedAt.Add(watchAgain); next.After(now) {
		at = next
	}
	e.watchedAt = at
	e.mu.Unlock()
	return sleep(ctx, at.Sub(now))
}

// doubtAgain is how soon a broker's catalog is read again in whose place something else answers.
const doubtAgain = 10 * time.Second

// mayDoubt tells whether the catalog may be read again for that.
func (e *extensions) mayDoubt() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.doubtedAt) < doubtAgain {
		return false
	}
	e.doubtedAt = time.Now()
	return true
}

// readExtensionsAgain is how soon the catalog is read once more of a broker that had not the extension: it may be a
// newer one by then.
const readExtensionsAgain = time.Minute

// extended tells whether the broker has an extension.
func (c *Client) extended(ctx context.Context, name string, call backstay.Call) bool {
	if has, settled := c.known.has(name); settled {
		return has
	}
	leave, err := c.known.reading.Take(ctx)
	if err != nil {
		return false
	}
	defer leave()
	has, settled := c.known.has(name)
	if settled { // meanwhile
		return has
	}
	if _, err := c.RawCatalog(ctx, call); err != nil {
		c.known.noteFailure()
	}
	has, _ = c.known.has(name)
	return has
}

// has tells whether the broker has an extension, and whether that need not be looked for.
func (e *extensions) has(name string) (has, settled bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	has = slices.Contains(e.all, name)
	return has, has || time.Since(e.readAt) < readExtensionsAgain
}

// hasRead tells whether the broker has an extension, and whether its catalog was ever read.
func (e *extensions) hasRead(name string) (has, read bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(e.all, name), e.read
}

// noteFailure notes that the catalog cannot be read now. What was known of it stays.
func (e *extensions) noteFailure() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readAt = time.Now()
}

// note keeps what a catalog says. One that says it in another way says nothing.
func (e *extensions) note(catalog json.RawMessage) {
	var told struct {
		Extensions []string `json:"backstay_extensions"`
	}
	if json.Unmarshal(catalog, &told) != nil {
		told.Extensions = nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all, e.read, e.readAt = told.Extensions, true, time.Now()
}

// The requests that can be asked about before they are made.

func provisionRequest(r backstay.ProvisionRequest) request {
	return request{
		method: http.MethodPut, path: instancePath(r.InstanceID), query: incomplete(url.Values{}), call: r.Call,
		body: provisionBody{
			ServiceID: r.ServiceID, PlanID: r.PlanID, OrganizationID: r.Context.OrganizationID, SpaceID: r.Context.SpaceID,
			Context: contextOf(r.Context), Parameters: r.Parameters, MaintenanceInfo: maintenanceOf(r.MaintenanceInfo),
			CopyOf: r.CopyOf,
		},
		success: []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}, gone: []int{http.StatusGone}, creates: true,
	}
}

func updateRequest(r backstay.UpdateRequest) request {
	return request{
		method: http.MethodPatch, path: instancePath(r.InstanceID), query: incomplete(url.Values{}), call: r.Call,
		body: updateBody{
			ServiceID: r.ServiceID, PlanID: r.PlanID, Context: contextOf(r.Context), Parameters: r.Parameters,
			MaintenanceInfo: maintenanceOf(r.MaintenanceInfo), Previous: previousOf(r.Previous),
		},
		success: []int{http.StatusOK, http.StatusAccepted}, gone: []int{http.StatusNotFound, http.StatusGone},
	}
}

func bindRequest(r backstay.BindRequest) request {
	body := bindBody{
		ServiceID: r.ServiceID, PlanID: r.PlanID, AppID: r.AppID, Context: contextOf(r.Context), Parameters: r.Parameters,
	}
	if r.AppID != "" || r.Route != "" {
		body.Resource = &bindResource{AppID: r.AppID, Route: r.Route}
	}
	return request{
		method: http.MethodPut, path: bindingPath(r.InstanceID, r.BindingID), query: incomplete(url.Values{}), call: r.Call,
		body: body, success: []int{http.StatusOK, http.StatusCreated, http.StatusAccepted},
		gone: []int{http.StatusNotFound, http.StatusGone}, creates: true, secret: true,
	}
}
