package cfapi

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func boundTo(offering, instance, binding, uri string) market.BoundService {
	return market.BoundService{
		Binding:     backstay.Binding{ID: backstay.BindingID("bound-" + instance), Name: binding},
		Instance:    backstay.Instance{ID: backstay.InstanceID("is-" + instance), Name: instance, Tags: []string{"mine", "relational"}},
		Plan:        backstay.Plan{Name: "Free"},
		Offering:    backstay.Offering{Name: offering, Tags: []string{offering, "relational"}},
		Credentials: backstay.Credentials{"uri": uri, "port": 5432},
	}
}

// The keys and their order are those of the users' guide.
const wantServices = `{
 "postgres": [
  {
   "binding_guid": "bound-orders",
   "binding_name": null,
   "credentials": {
    "port": 5432,
    "uri": "postgres://u:p@h:5432/d"
   },
   "instance_guid": "is-orders",
   "instance_name": "orders",
   "label": "postgres",
   "name": "orders",
   "plan": "Free",
   "provider": null,
   "syslog_drain_url": null,
   "tags": [
    "postgres",
    "relational",
    "mine"
   ],
   "volume_mounts": []
  },
  {
   "binding_guid": "bound-users",
   "binding_name": "main-db",
   "credentials": {
    "port": 5432,
    "uri": "postgres://u:p@h:5432/d"
   },
   "instance_guid": "is-users",
   "instance_name": "users",
   "label": "postgres",
   "name": "main-db",
   "plan": "Free",
   "provider": null,
   "syslog_drain_url": null,
   "tags": [
    "postgres",
    "relational",
    "mine"
   ],
   "volume_mounts": []
  }
 ]
}`

func TestVCAPServices(t *testing.T) {
	t.Parallel()
	const uri = "postgres://u:p@h:5432/d"
	compact, err := json.Marshal(
		vcapServices(
			[]market.BoundService{boundTo("postgres", "orders", "", uri), boundTo("postgres", "users", "main-db", uri)},
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	json.Indent(&got, compact, "", " ")
	if got.String() != wantServices {
		t.Errorf("got %s", got.String())
	}
}

func TestDatabaseURL(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		own  map[string]string
		uris []string
		want any
	}{
		"none":                 {nil, nil, nil},
		"no database":          {nil, []string{"rediss://:p@h:6379"}, nil},
		"the oldest database":  {nil, []string{"rediss://:p@h:6379", "postgres://u:p@a/d", "mysql://u:p@b/d"}, "postgres://u:p@a/d"},
		"as frameworks expect": {nil, []string{"postgresql://u:p%2F@a:1/d?x=y#z"}, "postgres://u:p%2F@a:1/d?x=y#z"},
		"mysql":                {nil, []string{"mysql://u:p@b/d?reconnect=true"}, "mysql2://u:p@b/d?reconnect=true"},
		"mysql2":               {nil, []string{"mysql2://u:p@b/d"}, "mysql2://u:p@b/d"},
		"no address at all":    {nil, []string{"", "::", "postgres://u:p@a/d"}, "postgres://u:p@a/d"},
		"the user's own":       {map[string]string{"DATABASE_URL": "x"}, []string{"postgres://u:p@a/d"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bound []market.BoundService
			for _, uri := range c.uris {
				bound = append(bound, boundTo("postgres", "i", "", uri))
			}
			if got := systemVariables(c.own, bound)["DATABASE_URL"]; got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
