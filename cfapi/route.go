package cfapi

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/market"
)

// access says who gets an answer. Of what a route is about, everybody else is told that it does not exist
// or, if they may see it, that they may not; the market sees to that, and a test asks every route with
// every role.
type access struct {
	anonymous bool
	hideable  bool         // what is anonymous may be hidden by a feature flag
	roles     market.Roles // that may; none for everybody who is logged in
}

var (
	anonymous = access{anonymous: true}
	// shoppers is everybody, unless a feature flag hides what is offered.
	shoppers = access{anonymous: true, hideable: true}
	loggedIn = access{}
)

// needs are those who have one of the roles, where it is a role on the place that the route is about.
func needs(roles market.Roles) access { return access{roles: roles} }

func (a access) String() string {
	switch {
	case a.hideable:
		return "anyone, or logged in by `hide_marketplace_from_unauthenticated_users`"
	case a.anonymous:
		return "anyone"
	case a.roles == 0:
		return "logged in"
	}
	return strings.Join(a.roles.Names(), ", ")
}

type route struct {
	pattern string // as http.ServeMux has it
	access  access
	params  params
	handle  handler
}

type handler func(w http.ResponseWriter, r *request) error

// none are the params of a route that takes no query.
var none params

// instanceFields are the related resources that come with an instance, for the asking.
var instanceFields = []string{
	"fields[space]",
	"fields[space.organization]",
	"fields[service_plan]",
	"fields[service_plan.service_offering]",
	"fields[service_plan.service_offering.service_broker]",
}

// userFilters are the params of lists of users.
var userFilters = pages(byTime, "guids", "usernames", "partial_usernames", "origins", "label_selector")

// routes is the API.
func (s *Server) routes() []route {
	return []route{
		{"GET    /{$}", anonymous, none, s.showRoot},
		{"GET    /v3", anonymous, none, s.showV3},
		{"GET    /v3/info", anonymous, none, s.showInfo},
		{"GET    /v2/info", anonymous, none, s.showOldInfo},
		{"GET    /v3/jobs/{guid}", loggedIn, none, s.showJob},

		{
			"GET    /v3/organizations", needs(market.OrganizationReaders), pages(byName, "guids", "names", "label_selector"),
			s.listOrganizations,
		},
		{"POST   /v3/organizations", needs(market.Administrators), none, s.createOrganization},
		{"GET    /v3/organizations/{guid}", needs(market.OrganizationReaders), none, s.showOrganization},
		{"PATCH  /v3/organizations/{guid}", needs(market.OrganizationManagers), none, s.updateOrganization},
		{"DELETE /v3/organizations/{guid}", needs(market.Administrators), none, s.deleteOrganization},
		{"GET    /v3/organizations/{guid}/users", needs(market.OrganizationReaders), userFilters, s.listOrganizationUsers},
		{
			"GET    /v3/organizations/{guid}/relationships/default_isolation_segment", needs(market.OrganizationReaders), none,
			s.nowhereOfOrganization,
		},
		{
			"PATCH  /v3/organizations/{guid}/relationships/default_isolation_segment", needs(market.OrganizationManagers), none,
			s.segregateOrganization,
		},
		{
			"GET    /v3/organizations/{guid}/domains", needs(market.OrganizationReaders), pages(byName, "guids", "names"),
			s.emptyOfOrganization,
		},
		{"GET    /v3/organizations/{guid}/domains/default", needs(market.OrganizationReaders), none, s.noDomain},
		{"GET    /v3/organizations/{guid}/usage_summary", needs(market.OrganizationReaders), none, s.showOrganizationUsage},
		{"GET    /v3/isolation_segments", loggedIn, pages(byName, "guids", "names", "organization_guids"), s.empty},
		{
			"GET    /v3/organization_quotas", needs(market.OrganizationReaders),
			pages(byName, "guids", "names", "organization_guids"), s.listQuotas(ofOrganizations),
		},
		{"POST   /v3/organization_quotas", needs(market.Administrators), none, s.createOrganizationQuota},
		{"GET    /v3/organization_quotas/{guid}", needs(market.OrganizationReaders), none, s.showQuota(ofOrganizations)},
		{"PATCH  /v3/organization_quotas/{guid}", needs(market.Administrators), none, s.updateOrganizationQuota},
		{"DELETE /v3/organization_quotas/{guid}", needs(market.Administrators), none, s.deleteQuota(ofOrganizations)},
		{
			"POST   /v3/organization_quotas/{guid}/relationships/organizations", needs(market.Administrators), none,
			s.applyOrganizationQuota,
		},

		{
			"GET    /v3/spaces", needs(market.SpaceReaders),
			pages(byName, "guids", "names", "organization_guids", "label_selector").including("organization"), s.listSpaces,
		},
		{"POST   /v3/spaces", needs(market.OrganizationManagers), none, s.createSpace},
		{"GET    /v3/spaces/{guid}", needs(market.SpaceReaders), none.including("organization"), s.showSpace},
		{"PATCH  /v3/spaces/{guid}", needs(market.SpaceManagers), none, s.updateSpace},
		{"DELETE /v3/spaces/{guid}", needs(market.OrganizationManagers), none, s.deleteSpace},
		{"GET    /v3/spaces/{guid}/users", needs(market.SpaceReaders), userFilters, s.listSpaceUsers},
		{"GET    /v3/spaces/{guid}/relationships/isolation_segment", needs(market.SpaceReaders), none, s.nowhereOfSpace},
		{"PATCH  /v3/spaces/{guid}/relationships/isolation_segment", needs(market.SpaceManagers), none, s.segregateSpace},
		{"GET    /v3/spaces/{guid}/features", needs(market.SpaceReaders), none, s.listSpaceFeatures},
		{"GET    /v3/spaces/{guid}/features/ssh", needs(market.SpaceReaders), none, s.showSSHFeature},
		{"PATCH  /v3/spaces/{guid}/features/ssh", needs(market.SpaceManagers), none, s.updateSSHFeature},
		{
			"GET    /v3/spaces/{guid}/running_security_groups", needs(market.SpaceReaders), pages(byTime, "names"),
			s.emptyOfSpace,
		},
		{
			"GET    /v3/spaces/{guid}/staging_security_groups", needs(market.SpaceReaders), pages(byTime, "names"),
			s.emptyOfSpace,
		},
		{
			"GET    /v3/space_quotas", needs(market.SpaceReaders),
			pages(byName, "guids", "names", "organization_guids", "space_guids"), s.listQuotas(ofSpaces),
		},
		{"POST   /v3/space_quotas", needs(market.OrganizationManagers), none, s.createSpaceQuota},
		{"GET    /v3/space_quotas/{guid}", needs(market.SpaceReaders), none, s.showQuota(ofSpaces)},
		{"PATCH  /v3/space_quotas/{guid}", needs(market.OrganizationManagers), none, s.updateSpaceQuota},
		{"DELETE /v3/space_quotas/{guid}", needs(market.OrganizationManagers), none, s.deleteQuota(ofSpaces)},
		{"POST   /v3/space_quotas/{guid}/relationships/spaces", needs(market.OrganizationManagers), none, s.applySpaceQuota},
		{
			"DELETE /v3/space_quotas/{guid}/relationships/spaces/{space}", needs(market.OrganizationManagers), none,
			s.removeSpaceQuota,
		},

		{"GET    /v3/users", loggedIn, userFilters, s.listUsers},
		{"POST   /v3/users", needs(market.Administrators), none, s.createUser},
		{"GET    /v3/users/{guid}", loggedIn, none, s.showUser},
		{"PATCH  /v3/users/{guid}", needs(market.Administrators), none, s.updateUser},
		{"DELETE /v3/users/{guid}", needs(market.Administrators), none, s.deleteUser},
		{
			"GET    /v3/roles",
			loggedIn,
			pages(byTime, "guids", "types", "user_guids", "organization_guids",
				"space_guids").including("user", "organization", "space"),
			s.listRoles,
		},
		{"GET    /v3/roles/{guid}", loggedIn, none.including("user", "organization", "space"), s.showRole},
		{"POST   /v3/roles", needs(market.SpaceManagers), none, s.createRole},
		{"DELETE /v3/roles/{guid}", needs(market.SpaceManagers), none, s.deleteRole},

		{
			"GET    /v3/apps",
			needs(market.SpaceReaders),
			pages(byName, "guids", "names", "space_guids", "organization_guids", "stacks", "lifecycle_type", "label_selector").
				including("space", "space.organization"),
			s.listApps,
		},
		{"POST   /v3/apps", needs(market.SpaceDevelopers), none, s.createApp},
		{"GET    /v3/apps/{guid}", needs(market.SpaceReaders), none.including("space", "space.organization"), s.showApp},
		{"PATCH  /v3/apps/{guid}", needs(market.SpaceDevelopers), none, s.updateApp},
		{"DELETE /v3/apps/{guid}", needs(market.SpaceDevelopers), none, s.deleteApp},
		{"GET    /v3/apps/{guid}/env", needs(market.SecretReaders), none, s.showEnvironment},
		{"GET    /v3/apps/{guid}/environment_variables", needs(market.VariableReaders), none, s.showVariables},
		{"PATCH  /v3/apps/{guid}/environment_variables", needs(market.SpaceDevelopers), none, s.updateVariables},
		{"GET    /v3/apps/{guid}/permissions", needs(market.SpaceReaders), none, s.showAppPermissions},
		{"GET    /v3/apps/{guid}/processes", needs(market.SpaceReaders), pages(byTime), s.emptyOfApp},
		{"GET    /v3/apps/{guid}/routes", needs(market.SpaceReaders), pages(byTime), s.emptyOfApp},
		{"GET    /v3/apps/{guid}/droplets/current", needs(market.SpaceReaders), none, s.noDroplet},
		{"GET    /api/v1/info", anonymous, none, s.showLogCache},
		{
			"GET    /api/v1/read/{guid}", needs(market.SpaceReaders),
			params{names: []string{"start_time", "end_time", "limit", "descending", "envelope_types", "name_filter"}}, s.noLogs,
		},
		{"GET    /v3/processes", loggedIn, pages(byTime, "app_guids"), s.empty},
		{"GET    /v3/routes", loggedIn, pages(byTime, "app_guids", "organization_guids", "space_guids"), s.empty},
		{"GET    /v3/deployments", loggedIn, pages(byTime, "app_guids", "status_values"), s.empty},

		{
			"GET    /v3/service_brokers", needs(market.BrokerReaders),
			pages(byName, "guids", "names", "space_guids", "label_selector"), s.listBrokers,
		},
		{"POST   /v3/service_brokers", needs(market.SpaceDevelopers), none, s.createBroker},
		{"GET    /v3/service_brokers/{guid}", needs(market.BrokerReaders), none, s.showBroker},
		{"PATCH  /v3/service_brokers/{guid}", needs(market.SpaceDevelopers), none, s.updateBroker},
		{"DELETE /v3/service_brokers/{guid}", needs(market.SpaceDevelopers), none, s.deleteBroker},
		{
			"GET    /v3/service_offerings",
			shoppers,
			pages(byName, "guids", "names", "available", "service_broker_guids", "service_broker_names",
				"space_guids", "organization_guids", "label_selector", "fields[service_broker]"),
			s.listOfferings,
		},
		{
			"GET    /v3/service_offerings/{guid}", shoppers, params{names: []string{"fields[service_broker]"}}, s.showOffering,
		},
		{"PATCH  /v3/service_offerings/{guid}", needs(market.Administrators), none, s.updateOffering},
		{"DELETE /v3/service_offerings/{guid}", needs(market.Administrators), none.and("purge"), s.deleteOffering},
		{
			"GET    /v3/service_plans",
			shoppers,
			pages(byName, "guids", "names", "available", "service_offering_guids", "service_offering_names",
				"service_broker_guids", "service_broker_names", "broker_catalog_ids", "space_guids", "organization_guids",
				"label_selector", "fields[service_offering.service_broker]").including("service_offering", "space.organization"),
			s.listPlans,
		},
		{"GET    /v3/service_plans/{guid}", shoppers, none.including("service_offering", "space.organization"), s.showPlan},
		{"PATCH  /v3/service_plans/{guid}", needs(market.Administrators), none, s.updatePlan},
		{"GET    /v3/service_plans/{guid}/visibility", loggedIn, none, s.showVisibility},
		{"POST   /v3/service_plans/{guid}/visibility", needs(market.Administrators), none, s.setVisibility(true)},
		{"PATCH  /v3/service_plans/{guid}/visibility", needs(market.Administrators), none, s.setVisibility(false)},
		{
			"DELETE /v3/service_plans/{guid}/visibility/{organization}", needs(market.Administrators), none, s.removeVisibility,
		},

		{
			"GET    /v3/service_instances",
			needs(market.SpaceReaders),
			pages(byName, "guids", "names", "type", "space_guids", "organization_guids", "service_plan_guids",
				"service_plan_names", "label_selector").and(instanceFields...),
			s.listInstances,
		},
		{"POST   /v3/service_instances", needs(market.SpaceDevelopers), none, s.createInstance},
		{"GET    /v3/service_instances/{guid}", needs(market.SpaceReaders), none.and(instanceFields...), s.showInstance},
		{"PATCH  /v3/service_instances/{guid}", needs(market.SpaceDevelopers), none, s.updateInstance},
		{"DELETE /v3/service_instances/{guid}", needs(market.SpaceDevelopers), none.and("purge"), s.deleteInstance},
		{
			"GET    /v3/service_instances/{guid}/credentials", needs(market.SecretReaders), none, s.showUserProvidedCredentials,
		},
		{"GET    /v3/service_instances/{guid}/permissions", needs(market.SpaceReaders), none, s.showInstancePermissions},
		{"GET    /v3/service_instances/{guid}/parameters", needs(market.SpaceReaders), none, s.showInstanceParameters},
		{"GET    /v3/service_instances/{guid}/relationships/shared_spaces", needs(market.SpaceReaders),
			params{names: []string{"fields[space]", "fields[space.organization]"}}, s.listSharedSpaces},
		{
			"POST   /v3/service_instances/{guid}/relationships/shared_spaces", needs(market.SpaceDevelopers), none,
			s.shareInstance,
		},
		{
			"DELETE /v3/service_instances/{guid}/relationships/shared_spaces/{space_guid}", needs(market.SpaceDevelopers), none,
			s.unshareInstance,
		},
		{
			"GET    /v3/service_instances/{guid}/relationships/shared_spaces/usage_summary", needs(market.SpaceReaders), none,
			s.showSharingUsage,
		},
		{"GET    /v3/feature_flags", loggedIn, none.ordered(byNothing, "page", "per_page"), s.listFeatureFlags},
		{"GET    /v3/feature_flags/{name}", loggedIn, none, s.showFeatureFlag},
		{"PATCH  /v3/feature_flags/{name}", needs(market.Administrators), none, s.updateFeatureFlag},
		{"GET    /v3/environment_variable_groups/{name}", loggedIn, none, s.showVariableGroup},
		{"PATCH  /v3/environment_variable_groups/{name}", needs(market.Administrators), none, s.updateVariableGroup},
		{
			"GET    /v3/stacks", loggedIn,
			none.ordered(byName, "guids", "names", "default", "order_by", "page", "per_page"), s.listStacks,
		},
		{"GET    /v3/stacks/{guid}", loggedIn, none, s.showStack},

		{
			"GET    /v3/service_credential_bindings",
			needs(market.SpaceReaders),
			pages(byName, "guids", "names", "type", "service_instance_guids", "service_instance_names", "app_guids",
				"app_names", "service_plan_guids", "service_plan_names", "service_offering_guids", "service_offering_names",
				"label_selector").including("app", "service_instance"),
			s.listBindings,
		},
		{"POST   /v3/service_credential_bindings", needs(market.SpaceDevelopers), none, s.createBinding},
		{
			"GET    /v3/service_credential_bindings/{guid}", needs(market.SpaceReaders),
			none.including("app", "service_instance"), s.showBinding,
		},
		{"PATCH  /v3/service_credential_bindings/{guid}", needs(market.SpaceDevelopers), none, s.updateBinding},
		{"DELETE /v3/service_credential_bindings/{guid}", needs(market.SpaceDevelopers), none, s.deleteBinding},
		{"GET    /v3/service_credential_bindings/{guid}/details", needs(market.SecretReaders), none, s.showBindingDetails},
		{
			"GET    /v3/service_credential_bindings/{guid}/parameters", needs(market.SecretReaders), none,
			s.showBindingParameters,
		},

		{
			"GET    /v3/audit_events", needs(market.EventReaders),
			pages(byTime, "guids", "types", "target_guids", "target_guids[not]", "space_guids", "organization_guids"),
			s.listEvents,
		},
		{"GET    /v3/audit_events/{guid}", needs(market.EventReaders), none, s.showEvent},
		{
			"GET    /v3/service_usage_events", needs(market.GlobalReaders),
			pages(byCreation, "guids", "after_guid", "service_instance_types", "service_offering_guids"), s.listUsageEvents,
		},
		{"GET    /v3/service_usage_events/{guid}", needs(market.GlobalReaders), none, s.showUsageEvent},
		{
			"POST   /v3/service_usage_events/actions/destructively_purge_all_and_reseed", needs(market.Administrators), none,
			s.reseedUsage,
		},
	}
}
