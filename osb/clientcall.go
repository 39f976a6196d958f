package osb

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/backstay/backstay"
)

func instancePath(id backstay.InstanceID) string {
	return "service_instances/" + segment(string(id))
}

func bindingPath(in backstay.InstanceID, id backstay.BindingID) string {
	return instancePath(in) + "/service_bindings/" + segment(string(id))
}

// segment is an id in a path. Dots alone would lead elsewhere.
func segment(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	return url.PathEscape(id)
}

// about is the query that says what an instance is of. A platform that does not know leaves it out.
func about(service backstay.ServiceID, plan backstay.ServicePlanID, operation backstay.OperationKey) url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"service_id": string(service), "plan_id": string(plan), "operation": string(operation),
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// incomplete is q of a platform that waits for what takes time.
func incomplete(q url.Values) url.Values {
	q.Set("accepts_incomplete", "true")
	return q
}

// Catalog tells what the broker offers, as far as it can be decoded.
func (c *Client) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	raw, err := c.RawCatalog(ctx, backstay.Call{})
	if err != nil {
		return nil, err
	}
	all, err := parseCatalog(raw)
	if err != nil {
		return nil, request{}.malformed(answer{status: http.StatusOK, body: raw}, err)
	}
	return all, nil
}

// RawCatalog is the catalog as the broker wrote it, a JSON object: for whoever tells all that is wrong with it.
func (c *Client) RawCatalog(ctx context.Context, call backstay.Call) (json.RawMessage, error) {
	var object map[string]json.RawMessage
	a, err := c.ask(ctx, request{
		method: http.MethodGet, path: "catalog", call: call, success: []int{http.StatusOK},
	}, &object)
	if err == nil {
		c.known.note(a.body)
	}
	return a.body, err
}

func (b *answerBody) check() error { return checkOperation(b.Operation) }

func checkOperation(key backstay.OperationKey) error {
	if len(key) > maxOperationKey {
		return wrongContent("expected \"operation\" in body to be no longer than %d bytes", maxOperationKey)
	}
	return nil
}

// Provision asks for an instance.
func (c *Client) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	var b answerBody
	a, err := c.ask(ctx, provisionRequest(r), &b)
	if err != nil {
		return backstay.Provisioned{}, err
	}
	return backstay.Provisioned{
		Async: a.status == http.StatusAccepted, Existed: a.status == http.StatusOK,
		Operation: b.key(a), DashboardURL: webAddress(b.DashboardURL),
	}, nil
}

// key is the name of the operation that a broker has begun. Of what is done there is nothing to ask, but where a broker
// of ours says so: LastOperation then tells what has become of it.
func (b *answerBody) key(a answer) backstay.OperationKey {
	if a.status != http.StatusAccepted {
		return a.done
	}
	return b.Operation
}

// webAddress is an address that people may be sent to; empty if it is none.
func webAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || shown(address) != address {
		return ""
	}
	return address
}

// Update asks for a change of an instance.
func (c *Client) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	var b answerBody
	a, err := c.ask(ctx, updateRequest(r), &b)
	if err != nil {
		return backstay.Updated{}, err
	}
	return backstay.Updated{
		Async: a.status == http.StatusAccepted, Operation: b.key(a), DashboardURL: webAddress(b.DashboardURL),
	}, nil
}

func previousOf(p backstay.PreviousValues) *previousBody {
	if p == (backstay.PreviousValues{}) {
		return nil
	}
	return &previousBody{
		PlanID: p.PlanID, OrganizationID: p.OrganizationID, SpaceID: p.SpaceID,
		MaintenanceInfo: maintenanceOf(p.MaintenanceInfo),
	}
}

// Deprovision asks for the end of an instance. Only "410 Gone" says that there is none: "404 Not Found" is also what
// answers where no broker is.
func (c *Client) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	var b answerBody
	a, err := c.ask(ctx, request{
		method: http.MethodDelete, path: instancePath(r.InstanceID), query: incomplete(about(r.ServiceID, r.PlanID, "")),
		call: r.Call, success: []int{http.StatusOK, http.StatusAccepted}, gone: []int{http.StatusGone},
	}, &b)
	return backstay.Deprovisioned{Async: a.status == http.StatusAccepted, Operation: b.key(a)}, err
}

// FetchInstance asks what an instance is.
func (c *Client) FetchInstance(
	ctx context.Context, r backstay.FetchInstanceRequest,
) (backstay.FetchedInstance, error) {
	var b instanceBody
	_, err := c.ask(ctx, request{
		method: http.MethodGet, path: instancePath(r.InstanceID), query: about(r.ServiceID, r.PlanID, ""), call: r.Call,
		success: []int{http.StatusOK}, gone: []int{http.StatusNotFound, http.StatusGone},
	}, &b)
	if err != nil {
		return backstay.FetchedInstance{}, err
	}
	return backstay.FetchedInstance{
		ServiceID: b.ServiceID, PlanID: b.PlanID, Parameters: object(b.Parameters),
		DashboardURL: webAddress(b.DashboardURL), MaintenanceInfo: b.MaintenanceInfo.info(),
	}, nil
}

func (b *instanceBody) check() error { return checkObject("parameters", b.Parameters) }

func checkObject(name string, raw json.RawMessage) error {
	if raw != nil && string(raw) != "null" && raw[0] != '{' {
		return wrongContent("expected %q in body to be an object", name)
	}
	return nil
}

// object is nil for one that is not there.
func object(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func (b *operationBody) check() error {
	switch b.State {
	case backstay.InProgress, backstay.Succeeded, backstay.Failed:
		return nil
	}
	return wrongContent("expected state was 'succeeded', broker returned '%s'.", shown(string(b.State)))
}

// LastOperation asks once how an operation on an instance comes along.
func (c *Client) LastOperation(ctx context.Context, r backstay.LastOperationRequest) (backstay.Operation, error) {
	return c.poll(ctx, r.Call, instancePath(r.InstanceID), about(r.ServiceID, r.PlanID, r.Operation))
}

// LastBindingOperation asks once how an operation on a binding comes along.
func (c *Client) LastBindingOperation(
	ctx context.Context, r backstay.LastBindingOperationRequest,
) (backstay.Operation, error) {
	op, err := c.poll(ctx, r.Call, bindingPath(r.InstanceID, r.BindingID), about(r.ServiceID, r.PlanID, r.Operation))
	op.Unusable, op.Unrepeatable = false, false // which are said of instances only
	return op, err
}

func (c *Client) poll(ctx context.Context, call backstay.Call, of string, q url.Values) (backstay.Operation, error) {
	var b operationBody
	a, err := c.ask(ctx, request{
		method: http.MethodGet, path: of + "/last_operation", query: q, call: call,
		success: []int{http.StatusOK}, gone: []int{http.StatusGone},
	}, &b)
	return backstay.Operation{
		State: b.State, Description: shown(b.Description), RetryAfter: a.retryAfter,
		Unusable: no(b.InstanceUsable), Unrepeatable: no(b.UpdateRepeatable), Notice: shown(b.Notice),
	}, err
}

// Bind asks for credentials.
func (c *Client) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	var b bindingBody
	a, err := c.ask(ctx, bindRequest(r), &b)
	if err != nil {
		return backstay.Bound{}, err
	}
	if a.status == http.StatusAccepted {
		return backstay.Bound{Async: true, Operation: b.Operation}, nil
	}
	return backstay.Bound{Existed: a.status == http.StatusOK, BindingDetails: b.details()}, nil
}

func (b *bindingBody) check() error {
	if mounts := strings.TrimSpace(string(b.VolumeMounts)); mounts != "" && mounts != "null" && mounts[0] != '[' {
		return wrongContent("expected \"volume_mounts\" key to contain an array of JSON objects in body")
	}
	if err := checkOperation(b.Operation); err != nil {
		return err
	}
	return checkObject("parameters", b.Parameters)
}

func (b *bindingBody) details() backstay.BindingDetails {
	return backstay.BindingDetails{
		Credentials: b.Credentials, SyslogDrainURL: shown(b.SyslogDrainURL), RouteServiceURL: shown(b.RouteServiceURL),
		VolumeMounts: object(b.VolumeMounts),
	}
}

// Unbind asks for the end of a binding. As for Deprovision, only "410 Gone" says that there is none.
func (c *Client) Unbind(ctx context.Context, r backstay.UnbindRequest) (backstay.Unbound, error) {
	var b answerBody
	a, err := c.ask(ctx, request{
		method: http.MethodDelete, path: bindingPath(r.InstanceID, r.BindingID),
		query: incomplete(about(r.ServiceID, r.PlanID, "")), call: r.Call,
		success: []int{http.StatusOK, http.StatusAccepted}, gone: []int{http.StatusGone},
	}, &b)
	return backstay.Unbound{Async: a.status == http.StatusAccepted, Operation: b.key(a)}, err
}

// FetchBinding asks for a binding once more.
func (c *Client) FetchBinding(ctx context.Context, r backstay.FetchBindingRequest) (backstay.FetchedBinding, error) {
	var b bindingBody
	_, err := c.ask(ctx, request{
		method: http.MethodGet, path: bindingPath(r.InstanceID, r.BindingID), query: about(r.ServiceID, r.PlanID, ""),
		call: r.Call, success: []int{http.StatusOK}, gone: []int{http.StatusNotFound, http.StatusGone}, secret: true,
	}, &b)
	if err != nil {
		return backstay.FetchedBinding{}, err
	}
	return backstay.FetchedBinding{BindingDetails: b.details(), Parameters: object(b.Parameters)}, nil
}
