package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	cfclient "github.com/cloudfoundry/go-cfclient/v3/client"
	"github.com/cloudfoundry/go-cfclient/v3/config"
	"github.com/cloudfoundry/go-cfclient/v3/resource"
)

// TestClientLibrary goes through the API with the library that Go programs use for Cloud Foundry, by other
// people than wrote ours.
func TestClientLibrary(t *testing.T) {
	t.Parallel()
	l, _ := newLibrary(t)
	l.organizations()
	l.spaces()
	l.roles()
	l.apps()
	l.catalog()
	l.instances()
	l.bindings()
	l.end()
}

// newLibrary is the library, as it has logged in to a Backstay of its own, and its configuration.
func newLibrary(t *testing.T) (*library, *config.Config) {
	t.Helper()
	p := start(t, "backstay", "--postgres", movablePostgres(t))
	cfg, err := config.New(p.url, config.UserPassword("admin", p.password))
	if err != nil {
		t.Fatal(err)
	}
	cf, err := cfclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &library{t: t, cf: cf, ctx: t.Context()}, cfg
}

// library is what one program knows that works with the API.
type library struct {
	t   *testing.T
	cf  *cfclient.Client
	ctx context.Context

	org      *resource.Organization
	space    *resource.Space
	app      *resource.App
	plan     *resource.ServicePlan
	instance *resource.ServiceInstance
}

func (l *library) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// want checks which names were found.
func want[T any](t *testing.T, found []T, err error, name func(T) string, names ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, item := range found {
		got = append(got, name(item))
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		t.Errorf("found %q, want %q", got, names)
	}
}

func (l *library) await(job string, err error) {
	l.t.Helper()
	l.must(err)
	l.must(
		l.cf.Jobs.PollComplete(l.ctx, job,
			&cfclient.PollingOptions{FailedState: "FAILED", Timeout: patience, CheckInterval: 10 * time.Millisecond}),
	)
	j, err := l.cf.Jobs.Get(l.ctx, job)
	l.must(err)
	if j.State != resource.JobStateComplete {
		l.t.Errorf("job %s is %s", j.Operation, j.State)
	}
}

func (l *library) organizations() {
	for i := range 3 {
		create := resource.NewOrganizationCreate(fmt.Sprint("acme-", i))
		create.Metadata = resource.NewMetadata().
			WithLabel("", "number", fmt.Sprint(i)).
			WithAnnotation("acme.example", "note", "any text")
		o, err := l.cf.Organizations.Create(l.ctx, create)
		l.must(err)
		l.org = o
	}
	name := func(o *resource.Organization) string { return o.Name }
	opts := cfclient.NewOrganizationListOptions()
	opts.PerPage = 1
	all, err := l.cf.Organizations.ListAll(l.ctx, opts)
	want(l.t, all, err, name, "acme-0", "acme-1", "acme-2")
	opts = cfclient.NewOrganizationListOptions()
	opts.Names.EqualTo("acme-0", "acme-2", "absent")
	opts.OrderBy = "-name"
	two, err := l.cf.Organizations.ListAll(l.ctx, opts)
	want(l.t, two, err, name, "acme-0", "acme-2")
	if two[0].Name != "acme-2" {
		l.t.Errorf("ordered by name, descending, %s comes first", two[0].Name)
	}
	for text, c := range map[string]struct {
		selector func(cfclient.LabelSelector)
		names    []string
	}{
		"existence":     {func(s cfclient.LabelSelector) { s.Existence("number") }, []string{"acme-0", "acme-1", "acme-2"}},
		"not existence": {func(s cfclient.LabelSelector) { s.NotExistence("number") }, []string{}},
		"equal":         {func(s cfclient.LabelSelector) { s.EqualTo("number", "1") }, []string{"acme-1"}},
		"not equal":     {func(s cfclient.LabelSelector) { s.NotEqualTo("number", "1") }, []string{"acme-0", "acme-2"}},
		"in":            {func(s cfclient.LabelSelector) { s.EqualTo("number", "1", "2", "3") }, []string{"acme-1", "acme-2"}},
		"not in":        {func(s cfclient.LabelSelector) { s.NotEqualTo("number", "1", "2") }, []string{"acme-0"}},
	} {
		opts := cfclient.NewOrganizationListOptions()
		opts.LabelSel = cfclient.LabelSelector{}
		c.selector(opts.LabelSel)
		found, err := l.cf.Organizations.ListAll(l.ctx, opts)
		l.t.Log(text)
		want(l.t, found, err, name, c.names...)
	}
	opts = cfclient.NewOrganizationListOptions()
	opts.CreateAts.AfterOrEqualTo(l.org.CreatedAt)
	opts.UpdatedAts.Before(l.org.CreatedAt.Add(time.Hour))
	opts.GUIDs.EqualTo(l.org.GUID)
	found, err := l.cf.Organizations.ListAll(l.ctx, opts)
	want(l.t, found, err, name, "acme-2")
	opts.CreateAts.After(l.org.CreatedAt)
	found, err = l.cf.Organizations.ListAll(l.ctx, opts)
	want(l.t, found, err, name)
	metadata := resource.NewMetadata().WithLabel("", "team", "a")
	metadata.RemoveLabel("", "number")
	_, err = l.cf.Organizations.Update(l.ctx, l.org.GUID, &resource.OrganizationUpdate{Name: "acme", Metadata: metadata})
	l.must(err)
	l.org, err = l.cf.Organizations.Get(l.ctx, l.org.GUID)
	l.must(err)
	if m := l.org.Metadata; l.org.Name != "acme" || len(m.Labels) != 1 || *m.Labels["team"] != "a" ||
		*m.Annotations["acme.example/note"] != "any text" {
		l.t.Errorf("updated to %+v", l.org)
	}
	_, err = l.cf.Organizations.Create(l.ctx, resource.NewOrganizationCreate("acme"))
	if !resource.IsUnprocessableEntityError(err) {
		l.t.Errorf("a second acme: %v", err)
	}
	_, err = l.cf.Organizations.Get(l.ctx, "absent")
	if !resource.IsResourceNotFoundError(err) {
		l.t.Errorf("an absent organization: %v", err)
	}
	segment, err := l.cf.Organizations.GetDefaultIsolationSegment(l.ctx, l.org.GUID)
	l.must(err)
	if segment != "" {
		l.t.Errorf("isolation segment %s", segment)
	}
}

func (l *library) spaces() {
	create := resource.NewSpaceCreate("dev", l.org.GUID)
	create.Metadata = resource.NewMetadata().WithLabel("", "env", "dev")
	s, err := l.cf.Spaces.Create(l.ctx, create)
	l.must(err)
	_, err = l.cf.Spaces.Update(l.ctx, s.GUID,
		&resource.SpaceUpdate{Name: "test", Metadata: resource.NewMetadata().WithLabel("", "env", "test")})
	l.must(err)
	space, org, err := l.cf.Spaces.GetIncludeOrganization(l.ctx, s.GUID)
	l.must(err)
	if space.Name != "test" || *space.Metadata.Labels["env"] != "test" || org.GUID != l.org.GUID {
		l.t.Errorf("space %+v of %+v", space, org)
	}
	l.space = space
	opts := cfclient.NewSpaceListOptions()
	opts.OrganizationGUIDs.EqualTo(l.org.GUID)
	opts.Names.EqualTo("test")
	found, orgs, err := l.cf.Spaces.ListIncludeOrganizationsAll(l.ctx, opts)
	want(l.t, found, err, func(s *resource.Space) string { return s.Name }, "test")
	want(l.t, orgs, nil, func(o *resource.Organization) string { return o.Name }, "acme")
}

func (l *library) roles() {
	name := func(u *resource.User) string { return u.Username }
	opts := cfclient.NewUserListOptions()
	opts.UserNames.EqualTo("admin")
	admin, err := l.cf.Users.Single(l.ctx, opts)
	l.must(err)
	_, err = l.cf.Users.Update(l.ctx, admin.GUID,
		&resource.UserUpdate{Metadata: resource.NewMetadata().WithLabel("", "on-call", "yes")})
	l.must(err)
	opts = cfclient.NewUserListOptions()
	opts.PartialUsernames.EqualTo("DMI")
	opts.LabelSel = cfclient.LabelSelector{}
	opts.LabelSel.EqualTo("on-call", "yes")
	found, err := l.cf.Users.ListAll(l.ctx, opts)
	want(l.t, found, err, name, "admin")
	member, err := l.cf.Roles.CreateOrganizationRole(l.ctx, l.org.GUID, admin.GUID, resource.OrganizationRoleUser)
	l.must(err)
	developer, err := l.cf.Roles.CreateSpaceRoleWithUsername(l.ctx, l.space.GUID, "admin", resource.SpaceRoleDeveloper,
		"uaa")
	l.must(err)
	found, err = l.cf.Organizations.ListUsersAll(l.ctx, l.org.GUID, nil)
	want(l.t, found, err, name, "admin")
	found, err = l.cf.Spaces.ListUsersAll(l.ctx, l.space.GUID, nil)
	want(l.t, found, err, name, "admin")
	kind := func(r *resource.Role) string { return r.Type }
	of := cfclient.NewRoleListOptions()
	of.OrganizationGUIDs.EqualTo(l.org.GUID)
	roles, orgs, err := l.cf.Roles.ListIncludeOrganizationsAll(l.ctx, of)
	want(l.t, roles, err, kind, "organization_user")
	want(l.t, orgs, nil, func(o *resource.Organization) string { return o.Name }, "acme")
	of = cfclient.NewRoleListOptions()
	of.SpaceGUIDs.EqualTo(l.space.GUID)
	of.WithSpaceRoleType(resource.SpaceRoleDeveloper, resource.SpaceRoleManager)
	roles, users, err := l.cf.Roles.ListIncludeUsersAll(l.ctx, of)
	want(l.t, roles, err, kind, "space_developer")
	want(l.t, users, nil, name, "admin")
	_, users, err = l.cf.Roles.GetIncludeUsers(l.ctx,
		developer.GUID) // this version asks for "Space", which the API refuses
	want(l.t, users, err, name, "admin")
	l.await(l.cf.Roles.Delete(l.ctx, developer.GUID))
	l.await(l.cf.Roles.Delete(l.ctx, member.GUID))
	_, err = l.cf.Roles.Get(l.ctx, member.GUID)
	if !resource.IsResourceNotFoundError(err) {
		l.t.Errorf("a role that is gone: %v", err)
	}
}

func (l *library) apps() {
	create := resource.NewAppCreate("shop", l.space.GUID)
	create.Metadata = resource.NewMetadata().WithLabel("", "tier", "web")
	a, err := l.cf.Applications.Create(l.ctx, create)
	l.must(err)
	a, err = l.cf.Applications.Update(l.ctx, a.GUID,
		&resource.AppUpdate{Name: "store", Metadata: resource.NewMetadata().WithAnnotation("", "why", "new name")})
	l.must(err)
	l.app = a
	value := "1"
	_, err = l.cf.Applications.SetEnvironmentVariables(l.ctx, a.GUID, map[string]*string{"A": &value, "B": nil})
	l.must(err)
	variables, err := l.cf.Applications.GetEnvironmentVariables(l.ctx, a.GUID)
	l.must(err)
	if len(variables) != 1 || *variables["A"] != "1" {
		l.t.Errorf("variables %v", variables)
	}
	if _, err = l.cf.Applications.GetEnvironment(l.ctx, a.GUID); err != nil {
		l.t.Error(err)
	}
	may, err := l.cf.Applications.Permissions(l.ctx, a.GUID)
	l.must(err)
	if !may.ReadBasicData || !may.ReadSensitiveData {
		l.t.Errorf("permissions %+v", may)
	}
	opts := cfclient.NewAppListOptions()
	opts.OrganizationGUIDs.EqualTo(l.org.GUID)
	opts.LabelSel = cfclient.LabelSelector{}
	opts.LabelSel.EqualTo("tier", "web")
	apps, spaces, orgs, err := l.cf.Applications.ListIncludeSpacesAndOrganizationsAll(l.ctx, opts)
	want(l.t, apps, err, func(a *resource.App) string { return a.Name }, "store")
	want(l.t, spaces, nil, func(s *resource.Space) string { return s.Name }, "test")
	want(l.t, orgs, nil, func(o *resource.Organization) string { return o.Name }, "acme")
	if _, _, _, err = l.cf.Applications.GetIncludeSpaceAndOrganization(l.ctx, a.GUID); err != nil {
		l.t.Error(err)
	}
}

func (l *library) catalog() {
	opts := cfclient.NewServiceOfferingListOptions()
	opts.Names.EqualTo("postgres")
	offering, err := l.cf.ServiceOfferings.Single(l.ctx, opts)
	l.must(err)
	_, err = l.cf.ServiceOfferings.Update(l.ctx, offering.GUID,
		&resource.ServiceOfferingUpdate{Metadata: resource.NewMetadata().WithLabel("", "kind", "sql")})
	l.must(err)
	of := cfclient.NewServicePlanListOptions()
	of.ServiceOfferingGUIDs.EqualTo(offering.GUID)
	of.Names.EqualTo("Free")
	plans, offerings, err := l.cf.ServicePlans.ListIncludeServiceOfferingAll(l.ctx, of)
	want(l.t, plans, err, func(p *resource.ServicePlan) string { return p.Name }, "Free")
	want(l.t, offerings, nil, func(o *resource.ServiceOffering) string { return o.Name + *o.Metadata.Labels["kind"] },
		"postgressql")
	l.plan = plans[0]
	if _, _, _, err = l.cf.ServicePlans.ListIncludeSpacesAndOrganizationsAll(l.ctx, nil); err != nil {
		l.t.Error(err)
	}
	_, offering, err = l.cf.ServicePlans.GetIncludeServicePlan(l.ctx, l.plan.GUID)
	l.must(err)
	if offering.Name != "postgres" {
		l.t.Errorf("the plan's offering is %+v", offering)
	}
	plan, err := l.cf.ServicePlans.Update(l.ctx, l.plan.GUID,
		&resource.ServicePlanUpdate{Metadata: resource.NewMetadata().WithLabel("", "cheap", "yes")})
	l.must(err)
	if *plan.Metadata.Labels["cheap"] != "yes" {
		l.t.Errorf("plan %+v", plan.Metadata)
	}
}

func (l *library) instances() {
	create := resource.NewServiceInstanceCreateManaged("orders", l.space.GUID, l.plan.GUID)
	create.Tags = []string{"a"}
	create.Metadata = resource.NewMetadata().WithLabel("", "data", "orders")
	l.await(l.cf.ServiceInstances.CreateManaged(l.ctx, create))
	opts := cfclient.NewServiceInstanceListOptions()
	opts.SpaceGUIDs.EqualTo(l.space.GUID)
	opts.ServicePlanNames.EqualTo("Free")
	in, err := l.cf.ServiceInstances.Single(l.ctx, opts)
	l.must(err)
	name := "orders2"
	job, in, err := l.cf.ServiceInstances.UpdateManaged(l.ctx, in.GUID, &resource.ServiceInstanceManagedUpdate{
		Name: &name, Tags: []string{"b"}, Metadata: resource.NewMetadata().WithLabel("", "more", ""),
	})
	l.must(err)
	if job != "" || in.Name != name || !slices.Equal(in.Tags, []string{"b"}) || len(in.Metadata.Labels) != 2 {
		l.t.Errorf("updated by job %q to %+v", job, in)
	}
	l.instance = in
	may, err := l.cf.ServiceInstances.GetUserPermissions(l.ctx, in.GUID)
	l.must(err)
	if !may.Manage || !may.Read {
		l.t.Errorf("permissions %+v", may)
	}
	parameters, err := l.cf.ServiceInstances.GetManagedParameters(l.ctx, in.GUID)
	l.must(err)
	var values map[string]any
	l.must(json.Unmarshal(*parameters, &values))
}

func (l *library) bindings() {
	key := resource.NewServiceCredentialBindingCreateKey(l.instance.GUID, "key")
	key.Metadata = resource.NewMetadata().WithLabel("", "for", "ops")
	ids := map[string]string{}
	for name, create := range map[string]*resource.ServiceCredentialBindingCreate{"key": key, "app": resource.NewServiceCredentialBindingCreateApp(l.instance.GUID, l.app.GUID)} {
		job, b, err := l.cf.ServiceCredentialBindings.Create(l.ctx, create)
		l.must(err)
		if job != "" {
			l.await(job, nil)
			b, err = l.cf.ServiceCredentialBindings.Single(
				l.ctx,
				&cfclient.ServiceCredentialBindingListOptions{
					ListOptions: cfclient.NewListOptions(), Type: cfclient.Filter{Values: []string{name}},
				},
			)
			l.must(err)
		}
		ids[name] = b.GUID
	}
	details, err := l.cf.ServiceCredentialBindings.GetDetails(l.ctx, ids["key"])
	l.must(err)
	if details.Credentials["uri"] == nil {
		l.t.Errorf("credentials without uri")
	}
	if _, err := l.cf.ServiceCredentialBindings.GetParameters(l.ctx, ids["key"]); err != nil {
		l.t.Error(err)
	}
	b, err := l.cf.ServiceCredentialBindings.Update(l.ctx, ids["key"],
		&resource.ServiceCredentialBindingUpdate{Metadata: resource.NewMetadata().WithAnnotation("", "why", "backups")})
	l.must(err)
	if *b.Metadata.Labels["for"] != "ops" || *b.Metadata.Annotations["why"] != "backups" {
		l.t.Errorf("binding %+v", b.Metadata)
	}
	opts := cfclient.NewServiceCredentialBindingListOptions()
	opts.ServiceOfferingNames.EqualTo("postgres")
	opts.ServicePlanGUIDs.EqualTo(l.plan.GUID)
	bindings, instances, err := l.cf.ServiceCredentialBindings.ListIncludeServiceInstancesAll(l.ctx, opts)
	want(l.t, bindings, err, func(b *resource.ServiceCredentialBinding) string { return b.Type }, "app", "key")
	want(l.t, instances, nil, func(in *resource.ServiceInstance) string { return in.Name }, "orders2")
	_, app, err := l.cf.ServiceCredentialBindings.GetIncludeApp(l.ctx, ids["app"])
	l.must(err)
	if app.Name != "store" {
		l.t.Errorf("bound to %+v", app)
	}
	for _, id := range ids {
		job, err := l.cf.ServiceCredentialBindings.Delete(l.ctx, id)
		l.must(err)
		if job != "" {
			l.await(job, nil)
		}
	}
}

func (l *library) end() {
	l.await(l.cf.ServiceInstances.Delete(l.ctx, l.instance.GUID))
	l.await(l.cf.Applications.Delete(l.ctx, l.app.GUID))
	l.await(l.cf.Spaces.Delete(l.ctx, l.space.GUID))
	l.await(l.cf.Organizations.Delete(l.ctx, l.org.GUID))
	all, err := l.cf.Organizations.ListAll(l.ctx, nil)
	want(l.t, all, err, func(o *resource.Organization) string { return o.Name }, "acme-0", "acme-1")
}
