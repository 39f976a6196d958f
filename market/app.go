package market

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/backstay/backstay"
)

// Apps lists the apps that the actor may see.
func (m *Market) Apps(ctx context.Context, actor backstay.Actor, f AppFilter) (List[backstay.App], error) {
	f.Viewer = viewer(actor)
	return m.Store.Apps(ctx, f)
}

// App returns one app.
func (m *Market) App(ctx context.Context, actor backstay.Actor, id backstay.AppID) (backstay.App, error) {
	l, err := m.Apps(ctx, actor, AppFilter{IDs: []backstay.AppID{id}})
	return single(l, err, "App")
}

// CreateApp adds an app to a space: a name that services can be bound to.
func (m *Market) CreateApp(
	ctx context.Context, actor backstay.Actor, space backstay.SpaceID, name string, noted backstay.MetadataUpdate,
) (backstay.App, error) {
	at, err := m.permitInSpace(ctx, actor, space, SpaceDevelopers)
	if err != nil {
		return backstay.App{}, err
	}
	if err := (Update{&name, noted}).check(); err != nil {
		return backstay.App{}, err
	}
	a := backstay.App{ID: backstay.AppID(newID()), SpaceID: space, Name: name, Metadata: noted.Applied()}
	added, err := m.Store.AddApp(ctx, a, appEvent(actor, "create", a, at, nil))
	return added, m.orEnding(ctx, err, deleteApp, func() (id, said string, err error) {
		l, err := m.Store.Apps(ctx, AppFilter{Names: []string{name}, SpaceIDs: []backstay.SpaceID{space}})
		old, err := single(l, err, "App")
		return string(old.ID), "App " + name, err
	})
}

// appFor returns an app and its place. It is NotFound if the actor may not see the app, and Forbidden if the actor
// has none of the roles there.
func (m *Market) appFor(
	ctx context.Context, actor backstay.Actor, id backstay.AppID, may Roles,
) (backstay.App, place, error) {
	a, err := m.App(ctx, actor, id)
	if err != nil {
		return a, place{}, err
	}
	at, err := m.permitIn(ctx, actor, a.SpaceID, may)
	return a, at, err
}

// UpdateApp gives an app another name or other metadata.
func (m *Market) UpdateApp(
	ctx context.Context, actor backstay.Actor, id backstay.AppID, u Update,
) (backstay.App, error) {
	a, at, err := m.appFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return a, err
	}
	if err := u.check(); err != nil {
		return a, err
	}
	return m.Store.UpdateApp(ctx, id, u, appEvent(actor, "update", a, at, request(u.details())))
}

// DeleteApp accepts the end of an app and of its bindings. The services that it was bound to persist.
func (m *Market) DeleteApp(ctx context.Context, actor backstay.Actor, id backstay.AppID) (backstay.Job, error) {
	a, at, err := m.appFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return backstay.Job{}, err
	}
	j := m.newJob(actor, deleteApp, string(id), backstay.JobProcessing)
	return j, m.Store.AcceptJob(ctx, appEvent(actor, "delete-request", a, at, nil), j)
}

// Environment returns the variables that a user has set for the app.
func (m *Market) Environment(ctx context.Context, actor backstay.Actor, id backstay.AppID) (map[string]string, error) {
	a, at, err := m.appFor(ctx, actor, id, VariableReaders)
	if err != nil {
		return nil, err
	}
	if err := m.requireVisibleVariables(ctx, actor); err != nil {
		return nil, err
	}
	if err := m.recordRead(ctx, appEvent(actor, "environment_variables.show", a, at, nil)); err != nil {
		return nil, err
	}
	sealed, err := m.Store.SealedEnvironment(ctx, id)
	if err != nil {
		return nil, err
	}
	return m.openEnvironment(id, sealed)
}

// AppEnvironment returns all that an app finds in its environment, for those who may read its secrets. What it
// costs does not depend on how much is bound.
func (m *Market) AppEnvironment(
	ctx context.Context, actor backstay.Actor, id backstay.AppID,
) (e AppEnvironment, err error) {
	if e.App, err = m.App(ctx, actor, id); err != nil {
		return e, err
	}
	spaces, err := m.Store.Spaces(ctx, SpaceFilter{IDs: []backstay.SpaceID{e.App.SpaceID}})
	if e.Space, err = single(spaces, err, "Space"); err != nil {
		return e, err
	}
	at := place{e.Space.OrganizationID, e.Space.ID}
	if err := m.permit(ctx, actor, at, SecretReaders); err != nil {
		return e, err
	}
	if err := m.requireVisibleVariables(ctx, actor); err != nil {
		return e, err
	}
	if err := m.recordRead(ctx, appEvent(actor, "environment.show", e.App, at, nil)); err != nil {
		return e, err
	}
	organizations, err := m.Store.Organizations(
		ctx, OrganizationFilter{IDs: []backstay.OrganizationID{e.Space.OrganizationID}},
	)
	if e.Organization, err = single(organizations, err, "Organization"); err != nil {
		return e, err
	}
	sealed, err := m.Store.SealedEnvironment(ctx, id)
	if err != nil {
		return e, err
	}
	if e.Variables, err = m.openEnvironment(id, sealed); err != nil {
		return e, err
	}
	groups, err := m.variableGroups(ctx)
	if err != nil {
		return e, err
	}
	e.Running, e.Staging = groups[RunningGroup].Variables, groups[StagingGroup].Variables
	e.Bound, err = m.boundServices(ctx, id)
	return e, err
}

func (m *Market) boundServices(ctx context.Context, app backstay.AppID) (bound []BoundService, err error) {
	services, err := m.Store.BoundServices(ctx, app)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		if err := m.openJSON(credentialsContext(s.Binding.ID), s.Sealed, &s.Credentials); err != nil {
			return nil, err
		}
		var more extras
		if err := m.openJSON(extrasContext(s.Binding.ID), s.Extras, &more); err != nil {
			return nil, err
		}
		s.RouteServiceURL, s.VolumeMounts = more.RouteServiceURL, more.VolumeMounts
		bound = append(bound, s.BoundService)
	}
	return bound, nil
}

// SetEnvironment sets the given variables, unsets those that are nil, and returns all.
func (m *Market) SetEnvironment(
	ctx context.Context, actor backstay.Actor, id backstay.AppID, changes map[string]*string,
) (map[string]string, error) {
	a, at, err := m.appFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return nil, err
	}
	if err := checkVariables(changes); err != nil {
		return nil, err
	}
	var all map[string]string
	err = m.Store.UpdateEnvironment(ctx, id, func(sealed []byte) (_ []byte, err error) {
		if all, err = m.openEnvironment(id, sealed); err != nil {
			return nil, err
		}
		changeVariables(all, changes)
		return m.sealJSON(environmentContext(id), all)
	}, appEvent(actor, "update", a, at, request(details{
		"environment_variables": shownVariables(changes), "environment_json": hidden,
	})))
	return all, err
}

// changeVariables sets the given variables among all, and unsets those that are nil.
func changeVariables(all map[string]string, changes map[string]*string) {
	for name, value := range changes {
		if value == nil {
			delete(all, name)
		} else {
			all[name] = *value
		}
	}
}

// shownVariables returns changed variables as an event may show them: their names, and whether they were unset.
func shownVariables(changes map[string]*string) map[string]any {
	shown := map[string]any{}
	for name, value := range changes {
		shown[name] = hidden
		if value == nil {
			shown[name] = nil
		}
	}
	return shown
}

func checkVariables(changes map[string]*string) error {
	for name := range changes {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return backstay.Errorf(backstay.Invalid,
				"Environment variable name %q must not be empty or contain '='", name)
		case name == "PORT", strings.HasPrefix(name, "VCAP_"), strings.HasPrefix(name, "VMC_"):
			return backstay.Errorf(backstay.Invalid, "Environment variable cannot set %s: it is reserved", name)
		}
	}
	return nil
}

func (m *Market) openEnvironment(id backstay.AppID, sealed []byte) (map[string]string, error) {
	all := map[string]string{}
	return all, m.openJSON(environmentContext(id), sealed, &all)
}

// A sealed value can be opened only in the context it was sealed in, so none can be moved to
// another row.
func environmentContext(id backstay.AppID) string { return "app/" + string(id) + "/environment" }
func parametersContext(id backstay.InstanceID) string {
	return "instance/" + string(id) + "/parameters"
}
func bindingParametersContext(id backstay.BindingID) string {
	return "binding/" + string(id) + "/parameters"
}
func extrasContext(id backstay.BindingID) string { return "binding/" + string(id) + "/extras" }
func credentialsContext(id backstay.BindingID) string {
	return "binding/" + string(id) + "/credentials"
}

// sealJSON seals v; openJSON is its inverse, and leaves v as it is if there is nothing to open.
func (m *Market) sealJSON(context string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", context, err)
	}
	return m.Key.Seal(plain, context), nil
}

func (m *Market) openJSON(context string, sealed []byte, v any) error {
	if sealed == nil {
		return nil
	}
	plain, err := m.Key.Open(sealed, context)
	if err != nil {
		return fmt.Errorf("open %s: %w", context, err)
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.UseNumber() // a number that a user gave stays as it is, however long
	return d.Decode(v)
}
