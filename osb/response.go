package osb

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain/apiresponses"

	"github.com/backstay/backstay"
)

// statuses is what each Kind of error is in the specification. What is NotFound is gone for whoever ends it or polls.
var statuses = map[backstay.Kind]int{
	backstay.Internal:    http.StatusInternalServerError,
	backstay.Invalid:     http.StatusBadRequest,
	backstay.Anonymous:   http.StatusUnauthorized,
	backstay.Forbidden:   http.StatusForbidden,
	backstay.NotFound:    http.StatusNotFound,
	backstay.Taken:       http.StatusConflict,
	backstay.Busy:        http.StatusUnprocessableEntity,
	backstay.InUse:       http.StatusUnprocessableEntity,
	backstay.Unsupported: http.StatusUnprocessableEntity,
	backstay.Unavailable: http.StatusServiceUnavailable,
}

// told is an error's status and body. absent is the status of what is not there.
func told(err error, absent int) (int, errorBody) {
	f := backstay.FailureOf(err)
	b := errorBody{
		Error: f.Code, Description: backstay.SentenceOf(err),
		InstanceUsable: unless(f.Unusable), UpdateRepeatable: unless(f.Unrepeatable),
	}
	switch kind := backstay.KindOf(err); {
	case kind == backstay.NotFound:
		return absent, b
	case kind == backstay.Busy:
		b.Error = backstay.ConcurrencyError
		return statuses[kind], b
	case f.Code != "":
		return http.StatusUnprocessableEntity, b
	default:
		return statuses[kind], b
	}
}

// fail answers with an error.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error, absent int) {
	h.log(r.Context(), err)
	status, body := told(err, absent)
	body.InstanceUsable, body.UpdateRepeatable = nil, nil // nothing was changed
	if wait := backstay.FailureOf(err).RetryAfter; wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Open Service Broker API", charset="UTF-8"`)
	}
	respond(w, status, body)
}

// log logs what is not the platform's fault.
func (h *Handler) log(ctx context.Context, err error) {
	if k := backstay.KindOf(err); k == backstay.Internal && !errors.Is(err, context.Canceled) {
		h.Log.ErrorContext(ctx, "a request of a platform failed", "error", err)
	} else if k == backstay.Unavailable {
		h.Log.WarnContext(ctx, "a request of a platform could not be met now", "error", err)
	}
}

// failure is an error as the library knows them. It has no fields for what a failed update has left, which withFailure
// adds.
func (a adapter) failure(ctx context.Context, err error) error {
	return a.failureWhere(ctx, err, http.StatusNotFound)
}

// goneFailure is the failure of a request to end what may be gone.
func (a adapter) goneFailure(ctx context.Context, err error) error {
	return a.failureWhere(ctx, err, http.StatusGone)
}

func (a adapter) failureWhere(ctx context.Context, err error, absent int) error {
	a.h.log(ctx, err)
	status, body := told(err, absent)
	if body.InstanceUsable != nil || body.UpdateRepeatable != nil {
		askingOf(ctx).failed = &body
	}
	return apiresponses.NewFailureResponseBuilder(errors.New(body.Description), status, "refused").
		WithErrorKey(string(body.Error)).Build()
}

// withFailure answers for the library what a request that changes or ends an instance has left where it has failed. Of
// other requests the specification wants nothing said of that.
func withFailure(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&failureWriter{w, askingOf(r.Context()), r.Method == http.MethodPatch}, r)
	}
}

// failureWriter writes the body of a failure that the library cannot say, in the place of the one that it writes.
type failureWriter struct {
	http.ResponseWriter
	asked  *asking
	update bool // was asked for, of which there is more to say
}

func (w *failureWriter) Write(body []byte) (int, error) {
	if w.asked.failed == nil {
		return w.ResponseWriter.Write(body)
	}
	if !w.update {
		w.asked.failed.UpdateRepeatable = nil
	}
	return len(body), json.NewEncoder(w.ResponseWriter).Encode(w.asked.failed)
}

func refuse(w http.ResponseWriter, status int, sentence string) {
	respond(w, status, errorBody{Description: sentence})
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked is gone
}

func (h *Handler) catalog(w http.ResponseWriter, r *http.Request) {
	b := askingOf(r.Context()).broker
	offerings, err := b.Catalog(r.Context())
	if err != nil {
		h.fail(w, r, err, http.StatusNotFound)
		return
	}
	respond(w, http.StatusOK, extendedCatalog{catalogOf(offerings), extensionsOf(r.Context(), b)})
}

func (h *Handler) fetchInstance(w http.ResponseWriter, r *http.Request) {
	a, q := askingOf(r.Context()), r.URL.Query()
	f, err := a.broker.FetchInstance(r.Context(), backstay.FetchInstanceRequest{
		Call: a.call, InstanceID: backstay.InstanceID(r.PathValue("instance_id")),
		ServiceID: backstay.ServiceID(q.Get("service_id")), PlanID: backstay.ServicePlanID(q.Get("plan_id")),
	})
	if err != nil {
		h.fail(w, r, err, http.StatusNotFound)
		return
	}
	respond(w, http.StatusOK, instanceBody{
		ServiceID: f.ServiceID, PlanID: f.PlanID, DashboardURL: f.DashboardURL, Parameters: f.Parameters,
		MaintenanceInfo: maintenanceOf(f.MaintenanceInfo),
	})
}

func (h *Handler) lastOperation(w http.ResponseWriter, r *http.Request) {
	a, q := askingOf(r.Context()), r.URL.Query()
	op, err := a.broker.LastOperation(r.Context(), backstay.LastOperationRequest{
		Call: a.call, InstanceID: backstay.InstanceID(r.PathValue("instance_id")),
		ServiceID: backstay.ServiceID(q.Get("service_id")), PlanID: backstay.ServicePlanID(q.Get("plan_id")),
		Operation: backstay.OperationKey(q.Get("operation")),
	})
	h.tell(w, r, op, err)
}

func (h *Handler) lastBindingOperation(w http.ResponseWriter, r *http.Request) {
	a, q := askingOf(r.Context()), r.URL.Query()
	op, err := a.broker.LastBindingOperation(r.Context(), backstay.LastBindingOperationRequest{
		Call: a.call, InstanceID: backstay.InstanceID(r.PathValue("instance_id")),
		BindingID: backstay.BindingID(r.PathValue("binding_id")),
		ServiceID: backstay.ServiceID(q.Get("service_id")), PlanID: backstay.ServicePlanID(q.Get("plan_id")),
		Operation: backstay.OperationKey(q.Get("operation")),
	})
	h.tell(w, r, op, err)
}

// tell answers how an operation comes along.
func (h *Handler) tell(w http.ResponseWriter, r *http.Request, op backstay.Operation, err error) {
	if err != nil {
		h.fail(w, r, err, http.StatusGone)
		return
	}
	if op.State == backstay.InProgress {
		w.Header().Set("Retry-After", strconv.Itoa(int(pauseFor(op, time.Now()).Seconds())))
	}
	failed := op.State == backstay.Failed && op.Type != backstay.Create
	respond(w, http.StatusOK, operationBody{
		State: op.State, Description: op.Description, Notice: op.Notice, InstanceUsable: unless(failed && op.Unusable),
		UpdateRepeatable: unless(failed && op.Type != backstay.Delete && op.Unrepeatable),
	})
}

// pauseFor is how long a platform is to leave an operation alone: as the broker says, else a quarter of the time that
// it has taken already, from a second to half a minute. What is quick is told of at once, and what is slow seldom.
func pauseFor(op backstay.Operation, now time.Time) time.Duration {
	if op.RetryAfter > 0 {
		return max(op.RetryAfter.Round(time.Second), time.Second)
	}
	if op.CreatedAt.IsZero() {
		return time.Second
	}
	return min(max(now.Sub(op.CreatedAt)/4, time.Second), 30*time.Second)
}
