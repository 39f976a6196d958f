package osb_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// The requests of the specification, with what each must have.
const (
	of           = "service_id=00000000-0000-4000-8000-00000000000a&plan_id=00000000-0000-4000-8000-00000000000b"
	async        = "accepts_incomplete=true"
	putInstance  = "PUT /v2/service_instances/i?" + async
	patch        = "PATCH /v2/service_instances/i?" + async
	del          = "DELETE /v2/service_instances/i?" + async + "&" + of
	getInstance  = "GET /v2/service_instances/i"
	pollInstance = "GET /v2/service_instances/i/last_operation"
	putBinding   = "PUT /v2/service_instances/i/service_bindings/b?" + async
	delBinding   = "DELETE /v2/service_instances/i/service_bindings/b?" + async + "&" + of
	getBinding   = "GET /v2/service_instances/i/service_bindings/b"
	pollBindings = "GET /v2/service_instances/i/service_bindings/b/last_operation"

	ids  = `"service_id":"00000000-0000-4000-8000-00000000000a","plan_id":"00000000-0000-4000-8000-00000000000b"`
	body = `{` + ids + `,"organization_guid":"o","space_guid":"s"}`
)

func failing(kind backstay.Kind) *told { return &told{err: backstay.Errorf(kind, "Because.")} }

func coded(kind backstay.Kind, code backstay.ErrorCode) *told {
	return &told{err: backstay.WithFailure(backstay.Errorf(kind, "Because."), backstay.Failure{Code: code})}
}

// leaving is a broker that fails, and says of everything what an update may leave.
func leaving(kind backstay.Kind) *told {
	return &told{err: backstay.WithFailure(backstay.Errorf(kind, "Because."),
		backstay.Failure{Unusable: true, Unrepeatable: true})}
}

// failed is a broker of which an operation has failed, and left the same.
func failed(t backstay.OperationType) *told {
	return &told{operation: backstay.Operation{Type: t, State: backstay.Failed, Unusable: true, Unrepeatable: true}}
}

const because = `{"description":"Because."}`

// TestTables is every table of responses in the specification: which status there is for what, and with which body.
func TestTables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, request, body string
		broker              *told
		status              int
		want                string // the body; empty: any object
	}{
		// "Provisioning".
		{"created", putInstance, body, &told{provisioned: backstay.Provisioned{DashboardURL: "https://d"}}, 201,
			`{"dashboard_url":"https://d"}`},
		{"exists", putInstance, body, &told{provisioned: backstay.Provisioned{Existed: true}}, 200, `{}`},
		{"accepted", putInstance, body, &told{provisioned: backstay.Provisioned{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"conflict", putInstance, body, failing(backstay.Taken), 409, because},
		{"refused", putInstance, body, failing(backstay.Invalid), 400, because},
		{"another version", putInstance, body, coded(backstay.Invalid, backstay.MaintenanceInfoConflict), 422,
			`{"error":"MaintenanceInfoConflict","description":"Because."}`},
		{"nobody waits", "PUT /v2/service_instances/i", body, &told{}, 422, `{"error":"AsyncRequired","description":` +
			`"This service plan requires client support for asynchronous service operations."}`},
		{"waits for no", "PUT /v2/service_instances/i?accepts_incomplete=false", body, &told{}, 422, ""},
		{"no service", putInstance, `{"plan_id":"p"}`, &told{}, 400, `{"description":"service_id missing"}`},
		{"no plan", putInstance, `{"service_id":"s"}`, &told{}, 400, `{"description":"plan_id missing"}`},
		{"no organization", putInstance, `{` + ids + `,"space_guid":"s"}`, &told{}, 400,
			`{"description":"organization_guid missing"}`},
		{"an empty organization", putInstance, `{` + ids + `,"organization_guid":"","space_guid":"s"}`, &told{}, 400,
			`{"description":"organization_guid missing"}`},
		{"no space", putInstance, `{` + ids + `,"organization_guid":"o","context":{"space_guid":"s"}}`, &told{}, 400,
			`{"description":"space_guid missing"}`},
		{"two spaces", putInstance, `{"context":{"platform":"cloudfoundry","space_guid":"t"},` + body[1:], &told{}, 400,
			`{"description":"The context names another organization or another space than organization_guid and ` +
				`space_guid."}`},
		{"two organizations", putInstance, `{"context":{"organization_guid":"p"},` + body[1:], &told{}, 400, ""},
		{"a cluster and a namespace", putInstance, `{"context":{"platform":"kubernetes","clusterid":"c","namespace":"n"},` +
			body[1:], &told{}, 201, `{}`},
		{"a plan of another service", putInstance, body, failing(backstay.NotFound), 400, because},
		{"another service", putInstance, `{"service_id":"s","plan_id":"p"}`, &told{}, 400,
			`{"description":"service-id not in the catalog"}`},
		{"another plan", putInstance, strings.Replace(body, "00000000000b", "00000000000f", 1), &told{}, 400,
			`{"description":"plan-id not in the catalog"}`},
		{"no body", putInstance, "", &told{}, 400, `{"description":"The request is not a JSON object."}`},
		{"an array", putInstance, "[]", &told{}, 400, `{"description":"The request is not a JSON object."}`},
		{"null", putInstance, "null", &told{}, 400, `{"description":"The request is not a JSON object."}`},
		{"half of one", putInstance, body[:20], &told{}, 400, `{"description":"The request is not a JSON object."}`},
		{"a number for an id", putInstance, `{"service_id":7}`, &told{}, 400,
			`{"description":"The field service_id is of another type than number."}`},
		{"parameters that are none", putInstance, `{"parameters":[]}`, &told{}, 400,
			`{"description":"Parameters must be a JSON object"}`},
		{"a context that is none", putInstance, `{"context":"here"}`, &told{}, 400, ""},
		{"a name that is none", putInstance, `{"context":{"instance_name":"a\u0000b"}}`, &told{}, 400, ""},
		{"unknown fields", putInstance, `{"x_more":{},` + body[1:], &told{}, 201, `{}`},

		// "Updating a Service Instance".
		{"updated", patch, body, &told{updated: backstay.Updated{DashboardURL: "https://d", Operation: "ended"}}, 200,
			`{"dashboard_url":"https://d"}`},
		{"update accepted", patch, body, &told{updated: backstay.Updated{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"update refused", patch, body, failing(backstay.Invalid), 400, because},
		{"update that cannot be", patch, body, failing(backstay.Unsupported), 422, because},
		{"update while another", patch, body, failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},
		{"update to another version", patch, body, coded(backstay.Invalid, backstay.MaintenanceInfoConflict), 422,
			`{"error":"MaintenanceInfoConflict","description":"Because."}`},
		{"update of nothing", patch, body, failing(backstay.NotFound), 404, because},
		{"update nobody waits for", "PATCH /v2/service_instances/i", body, &told{}, 422, ""},
		{"update has left", patch, body, leaving(backstay.Unavailable), 503,
			`{"description":"Because.","instance_usable":false,"update_repeatable":false}`},
		{"update of another service", patch, body, failing(backstay.Invalid), 400, because},
		{"update without service", patch, `{}`, &told{}, 400, `{"description":"service_id missing"}`},

		// "Deprovisioning".
		{"deleted", del, "", &told{}, 200, `{}`},
		{"delete accepted", del, "", &told{deprovisioned: backstay.Deprovisioned{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"delete of nothing", del, "", failing(backstay.NotFound), 410, because},
		{"delete while another", del, "", failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},
		{"delete has left", del, "", leaving(backstay.Unavailable), 503, `{"description":"Because.","instance_usable":false}`},
		{"create has left", putInstance, body, leaving(backstay.Unavailable), 503, because},
		{"bind has left", putBinding, body, leaving(backstay.Unavailable), 503, because},
		{"fetch has left", getInstance, "", leaving(backstay.Unavailable), 503, because},
		{"delete without plan", "DELETE /v2/service_instances/i?" + async + "&service_id=s", "", &told{}, 400,
			`{"description":"plan_id missing"}`},
		{"delete nobody waits for", "DELETE /v2/service_instances/i?" + of, "", &told{}, 422, ""},
		{"delete without ids", "DELETE /v2/service_instances/i?" + async, "", &told{}, 400,
			`{"description":"service_id missing"}`},

		// "Fetching a Service Instance".
		{"fetched", getInstance, "", &told{instance: backstay.FetchedInstance{
			ServiceID: "s", PlanID: "p", DashboardURL: "https://d", Parameters: json.RawMessage(`{"a":1}`),
			MaintenanceInfo: &backstay.MaintenanceInfo{Version: "1.2.3"},
		}}, 200, `{"service_id":"s","plan_id":"p","dashboard_url":"https://d","parameters":{"a":1},` +
			`"maintenance_info":{"version":"1.2.3"}}`},
		{"fetch of nothing", getInstance, "", failing(backstay.NotFound), 404, because},
		{"fetch while another", getInstance, "", failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},

		// "Polling Last Operation".
		{"in progress", pollInstance, "", &told{operation: backstay.Operation{
			State: backstay.InProgress, Description: "d",
		}}, 200, `{"state":"in progress","description":"d"}`},
		{"succeeded", pollInstance, "", &told{operation: backstay.Operation{State: backstay.Succeeded}}, 200,
			`{"state":"succeeded"}`},
		{"failed", pollInstance, "", &told{operation: backstay.Operation{
			State: backstay.Failed, Description: "d", Unusable: true, Unrepeatable: true,
		}}, 200, `{"state":"failed","description":"d","instance_usable":false,"update_repeatable":false}`},
		{"failed update", pollInstance, "", failed(backstay.Update), 200,
			`{"state":"failed","instance_usable":false,"update_repeatable":false}`},
		{"failed delete", pollInstance, "", failed(backstay.Delete), 200, `{"state":"failed","instance_usable":false}`},
		{"failed create", pollInstance, "", failed(backstay.Create), 200, `{"state":"failed"}`},
		{"gone", pollInstance, "", failing(backstay.NotFound), 410, because},
		{"a key that is none", pollInstance + "?operation=%00", "", &told{}, 400, ""},
		{"a binding in progress", pollBindings, "", &told{operation: backstay.Operation{State: backstay.InProgress}}, 200,
			`{"state":"in progress"}`},
		{"a binding is gone", pollBindings, "", failing(backstay.NotFound), 410, because},

		// "Binding".
		{"bound", putBinding, body, &told{bound: backstay.Bound{BindingDetails: backstay.BindingDetails{
			Credentials: backstay.Credentials{"uri": "u"}, SyslogDrainURL: "syslog://l", RouteServiceURL: "https://r",
			VolumeMounts: json.RawMessage(`[{"driver":"nfs","container_dir":"/d","mode":"rw","device_type":"shared",` +
				`"device":{"volume_id":"v","mount_config":{"k":1}}}]`),
		}}}, 201, `{"credentials":{"uri":"u"},"syslog_drain_url":"syslog://l","route_service_url":"https://r",` +
			`"volume_mounts":[{"driver":"nfs","container_dir":"/d","mode":"rw","device_type":"shared",` +
			`"device":{"volume_id":"v","mount_config":{"k":1}}}]}`},
		{"binding exists", putBinding, body, &told{bound: backstay.Bound{
			Existed: true, BindingDetails: backstay.BindingDetails{Credentials: backstay.Credentials{"uri": "u"}},
		}}, 200, `{"credentials":{"uri":"u"}}`},
		{"binding accepted", putBinding, body, &told{bound: backstay.Bound{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"binding conflict", putBinding, body, failing(backstay.Taken), 409, because},
		{"binding refused", putBinding, body, failing(backstay.Invalid), 400, because},
		{"binding lacks an app", putBinding, body, coded(backstay.Invalid, backstay.RequiresApp), 422,
			`{"error":"RequiresApp","description":"Because."}`},
		{"binding while another", putBinding, body, failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},
		{"binding without service", putBinding, `{"plan_id":"p"}`, &told{}, 400, `{"description":"service_id missing"}`},
		{"binding without plan", putBinding, `{"service_id":"s"}`, &told{}, 400, `{"description":"plan_id missing"}`},
		{"binding nobody waits for", "PUT /v2/service_instances/i/service_bindings/b", body, &told{}, 422, ""},

		// "Unbinding" and "Fetching a Service Binding".
		{"unbound", delBinding, "", &told{}, 200, `{}`},
		{"unbind accepted", delBinding, "", &told{unbound: backstay.Unbound{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"unbind of nothing", delBinding, "", failing(backstay.NotFound), 410, because},
		{"unbind while another", delBinding, "", failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},
		{"unbind without ids", "DELETE /v2/service_instances/i/service_bindings/b?" + async, "", &told{}, 400, ""},
		{"binding fetched", getBinding, "", &told{binding: backstay.FetchedBinding{
			BindingDetails: backstay.BindingDetails{Credentials: backstay.Credentials{"uri": "u"}},
			Parameters:     json.RawMessage(`{"a":1}`),
		}}, 200, `{"credentials":{"uri":"u"},"parameters":{"a":1}}`},
		{"fetch of no binding", getBinding, "", failing(backstay.NotFound), 404, because},

		// "Service Broker Errors".
		{"our bug", putInstance, body, failing(backstay.Internal), 500, `{"description":"An unknown error occurred."}`},
		{"no room", putInstance, body, failing(backstay.Unavailable), 503, because},
		{"no such request", "GET /v2/nothing", "", &told{}, 404, ""},
		{"directions for an id", "PUT /v2/service_instances/..?" + async, body, &told{}, 400,
			`{"description":"An id in a path that is \"..\" is to be escaped, as \"%2E%2E\"."}`},
		{"directions to another instance", "GET /v2/service_instances/i/service_bindings/./last_operation", "", &told{}, 400,
			`{"description":"An id in a path that is \".\" is to be escaped, as \"%2E\"."}`},
		{"dots for an id", "PUT /v2/service_instances/%2E%2E?" + async, body, &told{}, 201, `{}`},
		{"no id", "GET /v2/service_instances//last_operation", "", &told{}, 400, `{"description":"An id is empty."}`},
		{"no id at the end", "GET /v2/service_instances/", "", &told{}, 404, ""},
		{"no such method", "POST /v2/service_instances/i", body, &told{}, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			status, _, got := ask(t, c.broker, c.request, c.body, nil)
			if status != c.status {
				t.Errorf("the status is %d; want %d: %s", status, c.status, got)
			}
			var want, is any
			if err := json.Unmarshal(got, &is); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			if _, ok := is.(map[string]any); !ok {
				t.Errorf("the body is no object: %s", got)
			}
			if c.want != "" && (json.Unmarshal([]byte(c.want), &want) != nil || !reflect.DeepEqual(is, want)) {
				t.Errorf("the body is\n%s; want\n%s", got, c.want)
			}
		})
	}
}
