package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"code.cloudfoundry.org/cli/v8/plugin"

	"github.com/backstay/backstay"
)

// api is the Cloud Foundry API as the cf command is logged in to it.
type api struct {
	cf   plugin.CliConnection
	url  string
	http *http.Client
}

func newAPI(cf plugin.CliConnection) (*api, error) {
	address, err := cf.ApiEndpoint()
	if err != nil {
		return nil, err
	}
	if loggedIn, err := cf.IsLoggedIn(); err != nil || !loggedIn || address == "" {
		return nil, fmt.Errorf("you are not logged in. Type: cf login")
	}
	insecure, err := cf.IsSSLDisabled()
	if err != nil {
		return nil, err
	}
	return &api{cf, strings.TrimSuffix(address, "/"), &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialReadingAhead,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: insecure}, // as the user has told the cf command
		TLSHandshakeTimeout: 10 * time.Second,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1: a WebSocket needs it
	}}}, nil
}

// dialReadingAhead saves bulk three of four system calls: TLS reads each record by itself.
func dialReadingAhead(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return readAhead{c, bufio.NewReaderSize(c, 64<<10)}, nil
}

type readAhead struct {
	net.Conn
	from *bufio.Reader
}

func (r readAhead) Read(b []byte) (int, error) { return r.from.Read(b) }

// token is the value of an Authorization header that is good for another while.
func (a *api) token() (string, error) {
	token, err := a.cf.AccessToken()
	if err != nil {
		return "", fmt.Errorf("the cf command has no token (log in with 'cf login'): %w", err)
	}
	return token, nil
}

const (
	requestPatience = time.Minute
	maxAnswer       = 16 << 20
)

func (a *api) get(ctx context.Context, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	token, err := a.token()
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", token)
	answer, err := a.http.Do(r)
	if err != nil {
		return fmt.Errorf("the API cannot be reached: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the API did not answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return refused(answer.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the API's answer to %s makes no sense: %w", path, err)
	}
	return nil
}

func refused(status string, body []byte) error {
	var said struct{ Errors []struct{ Detail string } }
	if json.Unmarshal(body, &said) == nil && len(said.Errors) > 0 {
		return fmt.Errorf("%s", said.Errors[0].Detail)
	}
	return fmt.Errorf("the API answered %s", status)
}

// named asks for a resource by its name. A comma separates names, so one in a name is encoded twice.
func named(name string, more ...string) url.Values {
	q := url.Values{"names": {strings.ReplaceAll(name, ",", "%2C")}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return q
}

type resource struct {
	GUID string `json:"guid"`
	Name string `json:"name"`
}

// space is the id and the name of the space to work in.
func (a *api) space(ctx context.Context, o options) (resource, error) {
	var space resource
	target, err := a.cf.GetCurrentSpace()
	if err != nil {
		return space, err
	}
	space = resource{target.Guid, target.Name}
	org, err := a.cf.GetCurrentOrg()
	if err != nil {
		return space, err
	}
	if o.org == "" && o.space == "" {
		if space.GUID == "" {
			return space, fmt.Errorf("no space is targeted. Type: cf target -o ORG -s SPACE")
		}
		return space, nil
	}
	if o.space != "" {
		space.Name = o.space
	}
	organization := org.Guid
	if o.org != "" {
		found, err := a.find(ctx, "/v3/organizations", named(o.org), fmt.Sprintf("organization '%s'", o.org))
		if err != nil {
			return space, err
		}
		organization = found.GUID
	}
	if organization == "" || space.Name == "" {
		return space, fmt.Errorf("no space is targeted. Give both --org and --space, or type: cf target -o ORG -s SPACE")
	}
	return a.find(ctx, "/v3/spaces", named(space.Name, "organization_guids", organization),
		fmt.Sprintf("space '%s'", space.Name))
}

func (a *api) find(ctx context.Context, path string, q url.Values, what string) (resource, error) {
	var list struct{ Resources []resource }
	if err := a.get(ctx, path, q, &list); err != nil {
		return resource{}, err
	}
	if len(list.Resources) == 0 {
		return resource{}, fmt.Errorf("%s was not found", what)
	}
	return list.Resources[0], nil
}

// instances is an answer about instances, with their plans and offerings.
type instances struct {
	Resources []struct {
		GUID string   `json:"guid"`
		Name string   `json:"name"`
		Tags []string `json:"tags"`

		Relationships struct{ Space struct{ Data resource } } `json:"relationships"`
	}
	Included struct {
		Plans     []resource `json:"service_plans"`
		Offerings []struct {
			resource
			Tags []string `json:"tags"`
		} `json:"service_offerings"`
	}
}

// instance looks a service instance up.
func (a *api) instance(ctx context.Context, in resource, name string) (*service, error) {
	var list instances
	q := named(name, "space_guids", in.GUID,
		"fields[service_plan]", "guid,name", "fields[service_plan.service_offering]", "guid,name,tags")
	if err := a.get(ctx, "/v3/service_instances", q, &list); err != nil {
		return nil, err
	}
	if len(list.Resources) == 0 {
		return nil, fmt.Errorf("failed to bind service: '%s' was not found in space '%s'", name, in.Name)
	}
	s := &service{name: name, instance: backstay.InstanceID(list.Resources[0].GUID), tags: list.Resources[0].Tags}
	s.shared = list.Resources[0].Relationships.Space.Data.GUID != in.GUID
	if len(list.Included.Plans) > 0 {
		s.plan = list.Included.Plans[0].Name
	}
	if len(list.Included.Offerings) > 0 {
		s.label = list.Included.Offerings[0].Name
		s.tags = append(list.Included.Offerings[0].Tags, s.tags...)
	}
	return s, nil
}

// appBinding fills in the credentials that an app has been given for a service.
func (a *api) appBinding(ctx context.Context, app resource, s *service) error {
	found, err := a.find(ctx, "/v3/service_credential_bindings", bindingsOf(s, app), "binding")
	if err != nil {
		return backstay.Errorf(backstay.NotFound,
			"App '%s' doesn't appear to be bound to service '%s'. Type: cf bind-service %[1]s %[2]s", app.Name, s.name)
	}
	return a.details(ctx, found, s)
}

// anyBinding fills in the credentials that some app of the space has been given for a service. An instance that is
// shared with a space can be bound there, and no key of it can be made.
func (a *api) anyBinding(ctx context.Context, space resource, s *service) error {
	var apps struct{ Resources []resource }
	if err := a.get(ctx, "/v3/apps", url.Values{"space_guids": {space.GUID}, "per_page": {"5000"}}, &apps); err != nil {
		return err
	}
	if len(apps.Resources) > 0 {
		found, err := a.find(ctx, "/v3/service_credential_bindings", bindingsOf(s, apps.Resources...), "binding")
		if err == nil {
			return a.details(ctx, found, s)
		}
	}
	return backstay.Errorf(backstay.NotFound, "'%s' is shared with space '%s' by another, where keys of it are made. "+
		"Here it is reached as an app of this space, and none is bound to it. Type: cf bind-service APP %[1]s",
		s.name, space.Name)
}

// bindingsOf asks for the bindings of apps to a service.
func bindingsOf(s *service, apps ...resource) url.Values {
	ids := make([]string, len(apps))
	for i, app := range apps {
		ids[i] = app.GUID
	}
	return url.Values{"type": {"app"}, "app_guids": {strings.Join(ids, ",")},
		"service_instance_guids": {string(s.instance)}}
}

// details fills in the credentials of a binding.
func (a *api) details(ctx context.Context, found resource, s *service) error {
	var details struct{ Credentials backstay.Credentials }
	if err := a.get(ctx, "/v3/service_credential_bindings/"+found.GUID+"/details", nil, &details); err != nil {
		return err
	}
	s.binding, s.Credentials = backstay.BindingID(found.GUID), details.Credentials
	return nil
}
