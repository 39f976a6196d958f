package cfapi

import "net/http"

// access says who may ask for a route at all. Whether they get what they ask for is the market's to say.
type access string

const (
	anonymous access = "anyone"
	loggedIn  access = "logged in"
)

type route struct {
	pattern string // as http.ServeMux has it
	access  access
	params  params
	handle  func(w http.ResponseWriter, r *request) error
}

// none are the params of a route that takes no query.
var none params

// routes is the API.
func (s *Server) routes() []route {
	return []route{
		{"GET    /{$}", anonymous, none, s.showRoot},
		{"GET    /v3", anonymous, none, s.showV3},
		{"GET    /v3/info", anonymous, none, s.showInfo},
		{"GET    /v3/jobs/{guid}", loggedIn, none, s.showJob},

		{"GET    /v3/organizations", loggedIn, pages(byName, "guids", "names"), s.listOrganizations},
		{"POST   /v3/organizations", loggedIn, none, s.createOrganization},
		{"GET    /v3/organizations/{guid}", loggedIn, none, s.showOrganization},
		{"PATCH  /v3/organizations/{guid}", loggedIn, none, s.updateOrganization},
		{"DELETE /v3/organizations/{guid}", loggedIn, none, s.deleteOrganization},
		{"GET    /v3/organizations/{guid}/relationships/default_isolation_segment", loggedIn, none, s.nowhere},

		{"GET    /v3/spaces", loggedIn, pages(byName, "guids", "names", "organization_guids").including("organization"), s.listSpaces},
		{"POST   /v3/spaces", loggedIn, none, s.createSpace},
		{"GET    /v3/spaces/{guid}", loggedIn, none, s.showSpace},
		{"PATCH  /v3/spaces/{guid}", loggedIn, none, s.updateSpace},
		{"DELETE /v3/spaces/{guid}", loggedIn, none, s.deleteSpace},
		{"GET    /v3/spaces/{guid}/relationships/isolation_segment", loggedIn, none, s.nowhere},
		{"GET    /v3/spaces/{guid}/running_security_groups", loggedIn, pages(byTime, "names"), s.empty},
		{"GET    /v3/spaces/{guid}/staging_security_groups", loggedIn, pages(byTime, "names"), s.empty},

		{"GET    /v3/users", loggedIn, pages(byTime, "guids", "usernames", "origins"), s.listUsers},
		{"POST   /v3/users", loggedIn, none, s.createUser},
		{"GET    /v3/users/{guid}", loggedIn, none, s.showUser},
		{"DELETE /v3/users/{guid}", loggedIn, none, s.deleteUser},
		{"GET    /v3/roles", loggedIn, pages(byTime, "guids", "types", "user_guids", "organization_guids", "space_guids").including("user"), s.listRoles},
		{"POST   /v3/roles", loggedIn, none, s.createRole},
		{"DELETE /v3/roles/{guid}", loggedIn, none, s.deleteRole},

		{"GET    /v3/apps", loggedIn, pages(byName, "guids", "names", "space_guids", "organization_guids"), s.listApps},
		{"POST   /v3/apps", loggedIn, none, s.createApp},
		{"GET    /v3/apps/{guid}", loggedIn, none, s.showApp},
		{"PATCH  /v3/apps/{guid}", loggedIn, none, s.updateApp},
		{"DELETE /v3/apps/{guid}", loggedIn, none, s.deleteApp},
		{"GET    /v3/apps/{guid}/env", loggedIn, none, s.showEnvironment},
		{"GET    /v3/apps/{guid}/environment_variables", loggedIn, none, s.showVariables},
		{"PATCH  /v3/apps/{guid}/environment_variables", loggedIn, none, s.updateVariables},
		{"GET    /v3/apps/{guid}/processes", loggedIn, pages(byTime), s.emptyOfApp},
		{"GET    /v3/apps/{guid}/routes", loggedIn, pages(byTime), s.emptyOfApp},
		{"GET    /v3/apps/{guid}/droplets/current", loggedIn, none, s.noDroplet},
		{"GET    /v3/processes", loggedIn, pages(byTime, "app_guids"), s.empty},
		{"GET    /v3/routes", loggedIn, pages(byTime, "app_guids", "organization_guids", "space_guids"), s.empty},
		{"GET    /v3/deployments", loggedIn, pages(byTime, "app_guids", "status_values"), s.empty},

		{"GET    /v3/service_brokers", loggedIn, pages(byName, "guids", "names"), s.listBrokers},
		{"GET    /v3/service_brokers/{guid}", loggedIn, none, s.showBroker},
		{"GET    /v3/service_offerings", anonymous, pages(byName, "guids", "names", "available", "service_broker_guids", "service_broker_names",
			"space_guids", "organization_guids", "fields[service_broker]"), s.listOfferings},
		{"GET    /v3/service_offerings/{guid}", anonymous, params{names: []string{"fields[service_broker]"}}, s.showOffering},
		{"GET    /v3/service_plans", anonymous, pages(byName, "guids", "names", "available", "service_offering_guids", "service_offering_names",
			"service_broker_guids", "service_broker_names", "space_guids", "organization_guids",
			"fields[service_offering.service_broker]").including("service_offering"), s.listPlans},
		{"GET    /v3/service_plans/{guid}", anonymous, none, s.showPlan},

		{"GET    /v3/service_instances", loggedIn, pages(byName, "guids", "names", "space_guids", "organization_guids", "service_plan_guids", "service_plan_names",
			"fields[space]", "fields[space.organization]", "fields[service_plan]", "fields[service_plan.service_offering]",
			"fields[service_plan.service_offering.service_broker]"), s.listInstances},
		{"POST   /v3/service_instances", loggedIn, none, s.createInstance},
		{"GET    /v3/service_instances/{guid}", loggedIn, none, s.showInstance},
		{"PATCH  /v3/service_instances/{guid}", loggedIn, none, s.updateInstance},
		{"DELETE /v3/service_instances/{guid}", loggedIn, none, s.deleteInstance},
		{"GET    /v3/service_instances/{guid}/parameters", loggedIn, none, s.showInstanceParameters},
		{"GET    /v3/service_instances/{guid}/relationships/shared_spaces", loggedIn,
			params{names: []string{"fields[space]", "fields[space.organization]"}}, s.noSharedSpaces},
		{"GET    /v3/feature_flags/{name}", loggedIn, none, s.showFeatureFlag},

		{"GET    /v3/service_credential_bindings", loggedIn, pages(byName, "guids", "names", "type", "service_instance_guids", "service_instance_names",
			"app_guids", "app_names").including("app", "service_instance"), s.listBindings},
		{"POST   /v3/service_credential_bindings", loggedIn, none, s.createBinding},
		{"GET    /v3/service_credential_bindings/{guid}", loggedIn, none, s.showBinding},
		{"DELETE /v3/service_credential_bindings/{guid}", loggedIn, none, s.deleteBinding},
		{"GET    /v3/service_credential_bindings/{guid}/details", loggedIn, none, s.showBindingDetails},
	}
}
