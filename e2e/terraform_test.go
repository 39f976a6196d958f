package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	uaaclient "github.com/cloudfoundry-community/go-uaa"
	cfclient "github.com/cloudfoundry/go-cfclient/v3/client"
	"github.com/cloudfoundry/go-cfclient/v3/resource"
)

// TestTerraform asks for what Terraform's provider for Cloud Foundry asks, by the two libraries that it asks by, in its
// order: each resource is created, read again, changed and destroyed. The provider itself takes minutes to build:
// TestTerraformProvider has it.
func TestTerraform(t *testing.T) {
	t.Parallel()
	asked, cfg := newLibrary(t)
	uaa, err := uaaclient.New(cfg.AuthURL(""), uaaclient.WithNoAuthentication(),
		uaaclient.WithClient(cfg.HTTPAuthClient()))
	if err != nil {
		t.Fatal(err)
	}
	tf := &terraform{library: asked, uaa: uaa}
	tf.makeOrganization()
	tf.makeSpace()
	tf.makeUser()
	tf.makeRoles()
	tf.makeInstance()
	tf.makeBinding()
	tf.destroy()
}

// terraform is what a plan knows of the resources that it has made.
type terraform struct {
	*library
	uaa     *uaaclient.API
	user    string
	roles   []string
	binding string
}

// same compares what was read with what the plan says; Terraform refuses what differs.
func (tf *terraform) same(what string, got, want any) {
	tf.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		tf.t.Errorf("%s is %v, planned %v", what, got, want)
	}
}

func (tf *terraform) makeOrganization() {
	suspended := false
	o, err := tf.cf.Organizations.Create(tf.ctx,
		&resource.OrganizationCreate{Name: "planned", Suspended: &suspended, Metadata: resource.NewMetadata()})
	tf.must(err)
	suspended = true
	_, err = tf.cf.Organizations.Update(tf.ctx, o.GUID, &resource.OrganizationUpdate{Name: "planned-2", Suspended: &suspended})
	tf.must(err)
	suspended = false
	_, err = tf.cf.Organizations.Update(tf.ctx, o.GUID, &resource.OrganizationUpdate{Name: "planned-2", Suspended: &suspended})
	tf.must(err)
	opts := cfclient.NewOrganizationListOptions()
	opts.GUIDs.EqualTo(o.GUID)
	found, err := tf.cf.Organizations.ListAll(tf.ctx, opts)
	want(tf.t, found, err, func(o *resource.Organization) string { return o.Name }, "planned-2")
	tf.same("suspended", *found[0].Suspended, false)
	tf.org = found[0]
}

func (tf *terraform) makeSpace() {
	s, err := tf.cf.Spaces.Create(tf.ctx, resource.NewSpaceCreate("planned", tf.org.GUID))
	tf.must(err)
	tf.must(tf.cf.SpaceFeatures.EnableSSH(tf.ctx, s.GUID, true))
	tf.must(tf.cf.Spaces.AssignIsolationSegment(tf.ctx, s.GUID, "")) // as every change of a space does
	tf.space, err = tf.cf.Spaces.Update(tf.ctx, s.GUID, &resource.SpaceUpdate{Name: "planned-2"})
	tf.must(err)
	allowed, err := tf.cf.SpaceFeatures.IsSSHEnabled(tf.ctx, s.GUID)
	tf.must(err)
	tf.same("allow_ssh", allowed, true)
	segment, err := tf.cf.Spaces.GetAssignedIsolationSegment(tf.ctx, s.GUID)
	tf.must(err)
	tf.same("isolation_segment", segment, "")
}

func (tf *terraform) makeUser() {
	const name = "ada@example.org"
	_, err := tf.uaa.GetUserByUsername(name, "uaa", "")
	if err == nil || !strings.Contains(err.Error(), "not found") {
		tf.t.Fatalf("a user who is not there: %v", err)
	}
	primary := true
	plan := uaaclient.User{
		Username: name, Password: "correct horse", Origin: "uaa", Name: &uaaclient.UserName{GivenName: "Ada"},
		Emails: []uaaclient.Email{{Value: name, Primary: &primary}},
	}
	made, err := tf.uaa.CreateUser(plan)
	tf.must(err)
	tf.user = made.ID
	if _, err = tf.cf.Users.Get(tf.ctx, made.ID); resource.IsResourceNotFoundError(err) {
		_, err = tf.cf.Users.Create(tf.ctx, &resource.UserCreate{GUID: made.ID, Metadata: resource.NewMetadata()})
	}
	tf.must(err)
	plan.ID, plan.Password, plan.Name.FamilyName, plan.Emails[0].Value = made.ID, "", "Lovelace", "countess@example.org"
	_, err = tf.uaa.UpdateUser(plan)
	tf.must(err)
	_, body, status, err := tf.uaa.Curl("Users/"+made.ID+"/password", http.MethodPut,
		`{"oldPassword": "correct horse", "password": "battery staple"}`,
		[]string{"Content-Type: application/json", "Accept: application/json"})
	if tf.must(err); status != http.StatusOK {
		tf.t.Errorf("a new password: %d %s", status, body)
	}
	_, err = tf.cf.Users.Update(tf.ctx, made.ID, &resource.UserUpdate{Metadata: resource.NewMetadata().WithLabel("", "a", "b")})
	tf.must(err)
	read, err := tf.uaa.GetUser(made.ID)
	tf.must(err)
	tf.same("user", fmt.Sprint(read.Username, *read.Name, read.Emails[0].Value, read.Origin),
		name+"{Lovelace Ada}countess@example.orguaa")
}

func (tf *terraform) makeRoles() {
	member, err := tf.cf.Roles.CreateOrganizationRole(tf.ctx, tf.org.GUID, tf.user, resource.OrganizationRoleUser)
	tf.must(err)
	developer, err := tf.cf.Roles.CreateSpaceRole(tf.ctx, tf.space.GUID, tf.user, resource.SpaceRoleDeveloper)
	tf.must(err)
	manager, err := tf.cf.Roles.CreateSpaceRoleWithUsername(tf.ctx, tf.space.GUID, "ada@example.org",
		resource.SpaceRoleManager, "uaa")
	tf.must(err)
	for _, role := range []*resource.Role{developer, manager, member} {
		read, err := tf.cf.Roles.Get(tf.ctx, role.GUID)
		tf.must(err)
		tf.same("role", read.Type+read.Relationships.User.Data.GUID, role.Type+tf.user)
		tf.roles = append(tf.roles, role.GUID)
	}
}

func (tf *terraform) makeInstance() {
	plan, err := tf.cf.ServicePlans.Single(tf.ctx, &cfclient.ServicePlanListOptions{
		ListOptions: cfclient.NewListOptions(), Names: cfclient.Filter{Values: []string{"Free"}},
		ServiceOfferingNames: cfclient.Filter{Values: []string{"postgres"}},
	})
	tf.must(err)
	create := resource.NewServiceInstanceCreateManaged("planned", tf.space.GUID, plan.GUID)
	tf.await(tf.cf.ServiceInstances.CreateManaged(tf.ctx, create))
	tf.instance, err = tf.cf.ServiceInstances.Single(tf.ctx, &cfclient.ServiceInstanceListOptions{
		ListOptions: cfclient.NewListOptions(), Names: cfclient.Filter{Values: []string{"planned"}},
		SpaceGUIDs: cfclient.Filter{Values: []string{tf.space.GUID}},
	})
	tf.must(err)
	job, _, err := tf.cf.ServiceInstances.UpdateManaged(tf.ctx, tf.instance.GUID,
		&resource.ServiceInstanceManagedUpdate{Tags: []string{"planned"}, Metadata: resource.NewMetadata()})
	if tf.must(err); job != "" {
		tf.await(job, nil)
	}
	read, err := tf.cf.ServiceInstances.Get(tf.ctx, tf.instance.GUID)
	tf.must(err)
	tf.same("instance", fmt.Sprint(read.Name, read.Tags, read.LastOperation.State, read.Relationships.ServicePlan.Data.GUID),
		"planned[planned]succeeded"+plan.GUID)
}

func (tf *terraform) makeBinding() {
	job, b, err := tf.cf.ServiceCredentialBindings.Create(tf.ctx,
		resource.NewServiceCredentialBindingCreateKey(tf.instance.GUID, "planned"))
	if tf.must(err); job != "" {
		tf.await(job, nil)
		b, err = tf.cf.ServiceCredentialBindings.Single(tf.ctx, &cfclient.ServiceCredentialBindingListOptions{
			ListOptions: cfclient.NewListOptions(), Names: cfclient.Filter{Values: []string{"planned"}},
			ServiceInstanceGUIDs: cfclient.Filter{Values: []string{tf.instance.GUID}},
		})
		tf.must(err)
	}
	tf.binding = b.GUID
	read, err := tf.cf.ServiceCredentialBindings.Get(tf.ctx, tf.binding)
	tf.must(err)
	tf.same("binding", *read.Name+read.Type+read.LastOperation.State, "plannedkeysucceeded")
	details, err := tf.cf.ServiceCredentialBindings.GetDetails(tf.ctx, tf.binding)
	if tf.must(err); details.Credentials["uri"] == nil {
		tf.t.Errorf("credentials without uri")
	}
}

func (tf *terraform) destroy() {
	job, err := tf.cf.ServiceCredentialBindings.Delete(tf.ctx, tf.binding)
	if tf.must(err); job != "" {
		tf.await(job, nil)
	}
	tf.await(tf.cf.ServiceInstances.Delete(tf.ctx, tf.instance.GUID))
	for _, role := range tf.roles {
		tf.await(tf.cf.Roles.Delete(tf.ctx, role))
	}
	tf.await(tf.cf.Users.Delete(tf.ctx, tf.user))
	_, err = tf.uaa.DeleteUser(tf.user)
	tf.must(err)
	tf.await(tf.cf.Spaces.Delete(tf.ctx, tf.space.GUID))
	tf.await(tf.cf.Organizations.Delete(tf.ctx, tf.org.GUID))
	if _, err := tf.cf.Users.Get(tf.ctx, tf.user); !resource.IsResourceNotFoundError(err) {
		tf.t.Errorf("a user who is gone: %v", err)
	}
}
