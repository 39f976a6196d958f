package market

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"

	"github.com/backstay/backstay"
)

// CreateUserProvided adds a user-provided instance to a space: the credentials of a service that somebody else
// runs, under a name that apps can be bound to. No broker hears of it.
func (m *Market) CreateUserProvided(
	ctx context.Context, actor backstay.Actor, n NewUserProvided,
) (backstay.Instance, error) {
	at, err := m.permitInSpace(ctx, actor, n.SpaceID, SpaceDevelopers)
	if err != nil {
		return backstay.Instance{}, err
	}
	if err := m.requireFlag(ctx, actor, instanceCreation, admin); err != nil {
		return backstay.Instance{}, err
	}
	u := InstanceUpdate{
		Update: Update{Name: &n.Name, Metadata: n.Metadata}, Tags: n.Tags, Credentials: n.Credentials,
		SyslogDrainURL: &n.SyslogDrainURL, RouteServiceURL: &n.RouteServiceURL,
	}
	if u.Credentials == nil {
		u.Credentials = []byte(`{}`)
	}
	if err := u.checkUserProvided(); err != nil {
		return backstay.Instance{}, err
	}
	failed, err := m.failedOfName(ctx, actor, n.SpaceID, n.Name)
	if err != nil {
		return backstay.Instance{}, err
	}
	if err := m.purgeFailed(ctx, actor, failed); err != nil {
		return backstay.Instance{}, err
	}
	in := backstay.Instance{
		ID: backstay.InstanceID(newID()), Type: backstay.UserProvided, SpaceID: at.space, Name: n.Name, Tags: n.Tags,
		SyslogDrainURL: n.SyslogDrainURL, RouteServiceURL: n.RouteServiceURL, Metadata: n.Metadata.Applied(),
	}
	e := userProvidedEvent(actor, "create", in, at, request(u.askedOfUserProvided()))
	return m.Store.AddUserProvided(ctx, in, m.Key.Seal(u.Credentials, providedContext(in.ID)), e)
}

func (m *Market) updateUserProvided(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, at place, u InstanceUpdate,
) (backstay.Instance, error) {
	switch {
	case u.PlanID != nil:
		return in, errUnknownField("service_plan")
	case u.Parameters != nil:
		return in, errUnknownField("parameters")
	case u.MaintenanceVersion != nil:
		return in, errUnknownField("maintenance_info")
	}
	if err := u.checkUserProvided(); err != nil {
		return in, err
	}
	sealed := m.sealParameters(providedContext(in.ID), u.Credentials)
	return m.Store.UpdateUserProvided(
		ctx, in.ID, u, sealed, userProvidedEvent(actor, "update", in, at, request(u.askedOfUserProvided())),
	)
}

// UserProvidedCredentials returns the credentials that a user has given to a user-provided instance.
func (m *Market) UserProvidedCredentials(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID,
) (c backstay.Credentials, err error) {
	in, at, err := m.instanceFor(ctx, actor, id, SecretReaders)
	if err != nil {
		return nil, err
	}
	sealed, err := m.Store.UserProvidedCredentials(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := m.recordRead(ctx, userProvidedEvent(actor, "show", in, at, nil)); err != nil {
		return nil, err
	}
	return c, m.openJSON(providedContext(id), sealed, &c)
}

func providedContext(id backstay.InstanceID) string { return "instance/" + string(id) + "/credentials" }

// bindUserProvided binds an app to a user-provided instance, with the credentials that the instance has now. Later
// changes of the instance do not change the binding.
func (m *Market) bindUserProvided(
	ctx context.Context, actor backstay.Actor, b backstay.Binding, limit int, at place, asked details,
) error {
	return m.Store.AddBinding(ctx, b, limit, func(credentials []byte) ([]byte, error) {
		plain, err := m.Key.Open(credentials, providedContext(b.InstanceID))
		if err != nil {
			return nil, err
		}
		return m.Key.Seal(plain, credentialsContext(b.ID)), nil
	}, bindingEvent(actor, "create", b, at, asked))
}

func checkUserProvidedBinding(n NewBinding) error {
	switch {
	case n.Type == backstay.KeyBinding:
		return backstay.Errorf(backstay.Invalid,
			"Service credential bindings of type 'key' are not supported for user-provided service instances.")
	case n.Parameters != nil:
		return backstay.Errorf(backstay.Invalid,
			"Binding parameters are not supported for user-provided service instances")
	}
	return nil
}

func (u InstanceUpdate) checkUserProvided() error {
	if err := u.checkNames(); err != nil {
		return err
	}
	var object map[string]json.RawMessage
	if u.Credentials != nil && (json.Unmarshal(u.Credentials, &object) != nil || object == nil) {
		return backstay.Errorf(backstay.Invalid, "Credentials must be an object")
	}
	if u.SyslogDrainURL != nil {
		if err := checkURL(
			*u.SyslogDrainURL, "Syslog drain url", "syslog, syslog-tls or https", "syslog", "syslog-tls", "https",
		); err != nil {
			return err
		}
	}
	if u.RouteServiceURL != nil {
		return checkURL(*u.RouteServiceURL, "Route service url", "https", "https")
	}
	return nil
}

// checkURL refuses a text that is neither empty nor a URL with a host and one of the schemes. Said is how its
// sentence names the schemes.
func checkURL(text, noun, said string, schemes ...string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return backstay.Errorf(backstay.Invalid, "%s must be a valid URI", noun)
	case !slices.Contains(schemes, u.Scheme):
		return backstay.Errorf(backstay.Invalid, "%s must be %s", noun, said)
	case u.Hostname() == "":
		return backstay.Errorf(backstay.Invalid, "%s must be a valid URI", noun)
	}
	return nil
}

// askedOfUserProvided returns the update as an event shows it: without the credentials, and of a URL, in which
// there may be a password or a token, only scheme and host.
func (u InstanceUpdate) askedOfUserProvided() details {
	asked := u.asked()
	if u.Credentials != nil {
		asked["credentials"] = hidden
	}
	if u.SyslogDrainURL != nil {
		asked["syslog_drain_url"] = shownURL(*u.SyslogDrainURL)
	}
	if u.RouteServiceURL != nil {
		asked["route_service_url"] = shownURL(*u.RouteServiceURL)
	}
	return asked
}

func shownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || text == "" {
		return text
	}
	return u.Scheme + "://" + u.Host
}
