package market

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// SettingStore keeps what administrators have set for the whole platform.
type SettingStore interface {
	// FeatureFlags are those that somebody has set.
	FeatureFlags(ctx context.Context) ([]backstay.FeatureFlag, error)
	SetFeatureFlag(ctx context.Context, f backstay.FeatureFlag, e backstay.Event) (backstay.FeatureFlag, error)
	// EnvironmentGroups are those that somebody has set, by name.
	EnvironmentGroups(ctx context.Context) (map[string]SealedGroup, error)
	// UpdateEnvironmentGroup replaces a group's sealed variables, nil if it has none, by what change makes of them,
	// while nobody else can change it.
	UpdateEnvironmentGroup(
		ctx context.Context, name string, change func(sealed []byte) ([]byte, error), e backstay.Event,
	) (updated time.Time, err error)
}

// SealedGroup is an environment variable group as it is kept.
type SealedGroup struct {
	Sealed    []byte
	UpdatedAt time.Time
}

// The feature flags that decide something here. The others of Cloud Foundry are about apps, routes and domains:
// they are kept and shown.
const (
	instanceCreation     = "service_instance_creation"
	instanceSharing      = "service_instance_sharing"
	rolesByUsername      = "set_roles_by_username"
	variableVisibility   = "env_var_visibility"
	developersVisibility = "space_developer_env_var_visibility"
	hiddenMarketplace    = "hide_marketplace_from_unauthenticated_users"
	organizationCreation = "user_org_creation"
	spaceBrokers         = "space_scoped_private_broker_creation"
)

// flagDefaults are Cloud Foundry's feature flags as they are until somebody sets them. Sharing is enabled.
var flagDefaults = map[string]bool{
	"app_bits_upload": true, "app_scaling": true, "diego_cnb": false, "diego_docker": false, variableVisibility: true,
	hiddenMarketplace: false, "private_domain_creation": true, "resource_matching": true, "route_creation": true,
	"route_sharing": false, instanceCreation: true, instanceSharing: true, rolesByUsername: true,
	developersVisibility: true, spaceBrokers: true, "task_creation": true,
	"unset_roles_by_username": true, organizationCreation: false,
}

// ErrFeatureDisabled is what is joined to a refusal for a feature flag's sake.
var ErrFeatureDisabled = errors.New("feature disabled")

// FeatureFlags lists all feature flags, by name. Everybody may see them.
func (m *Market) FeatureFlags(ctx context.Context) ([]backstay.FeatureFlag, error) {
	set, err := m.Store.FeatureFlags(ctx)
	if err != nil {
		return nil, err
	}
	var all []backstay.FeatureFlag
	for name, enabled := range flagDefaults {
		f := backstay.FeatureFlag{Name: name, Enabled: enabled}
		if i := slices.IndexFunc(set, func(s backstay.FeatureFlag) bool { return s.Name == name }); i >= 0 {
			f = set[i]
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b backstay.FeatureFlag) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// FeatureFlag returns one feature flag.
func (m *Market) FeatureFlag(ctx context.Context, name string) (backstay.FeatureFlag, error) {
	all, err := m.FeatureFlags(ctx)
	if err != nil {
		return backstay.FeatureFlag{}, err
	}
	if i := slices.IndexFunc(all, func(f backstay.FeatureFlag) bool { return f.Name == name }); i >= 0 {
		return all[i], nil
	}
	return backstay.FeatureFlag{}, backstay.Errorf(backstay.NotFound, "Feature flag not found")
}

// maxFlagMessage is the length of a feature flag's message, in bytes.
const maxFlagMessage = 1000

// UpdateFeatureFlag enables or disables a feature, and says in which words its use is refused; nil leaves either
// as it is.
func (m *Market) UpdateFeatureFlag(
	ctx context.Context, actor backstay.Actor, name string, enabled *bool, message *string,
) (backstay.FeatureFlag, error) {
	f, err := m.FeatureFlag(ctx, name)
	if err != nil {
		return f, err
	}
	if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
		return f, err
	}
	asked := details{}
	if enabled != nil {
		f.Enabled, asked["enabled"] = *enabled, *enabled
	}
	if message != nil {
		f.ErrorMessage, asked["custom_error_message"] = *message, *message
	}
	switch {
	case f.Name == organizationCreation && f.Enabled:
		return f, backstay.Errorf(backstay.Invalid,
			"The feature flag '%s' cannot be enabled: only administrators create organizations.", name)
	case len(f.ErrorMessage) > maxFlagMessage:
		return f, backstay.Errorf(backstay.Invalid, "Custom error message is too long (maximum is %d characters)",
			maxFlagMessage)
	}
	e := newEvent(actor, "feature_flag.update", backstay.Target{ID: name, Type: "feature_flag", Name: name}, place{},
		request(asked))
	return m.Store.SetFeatureFlag(ctx, f, e)
}

// requireFlag refuses the use of a feature that is disabled, unless the actor's role on the whole platform is one
// of those that do not mind.
func (m *Market) requireFlag(ctx context.Context, actor backstay.Actor, name string, exempt Roles) error {
	if RolesOf(actor.Role)&exempt != 0 {
		return nil
	}
	f, err := m.FeatureFlag(ctx, name)
	if err != nil || f.Enabled {
		return err
	}
	said := name + ". Ask an administrator."
	if f.ErrorMessage != "" {
		said = f.ErrorMessage
	}
	return errors.Join(backstay.Errorf(backstay.Forbidden, "Feature Disabled: %s", said), ErrFeatureDisabled)
}

// requireVisibleVariables refuses to show an app's environment where administrators have forbidden that.
func (m *Market) requireVisibleVariables(ctx context.Context, actor backstay.Actor) error {
	if err := m.requireFlag(ctx, actor, variableVisibility, 0); err != nil {
		return err
	}
	return m.requireFlag(ctx, actor, developersVisibility, admin|adminReadOnly)
}

// MarketplaceHidden tells whether only those who are logged in may see what is offered.
func (m *Market) MarketplaceHidden(ctx context.Context) (bool, error) {
	f, err := m.FeatureFlag(ctx, hiddenMarketplace)
	return f.Enabled, err
}

// The environment variable groups: what all apps find in their environment, and what they find while they are
// staged.
const (
	RunningGroup = "running"
	StagingGroup = "staging"
)

// VariableGroup is an environment variable group.
type VariableGroup struct {
	Name      string
	Variables map[string]string
	UpdatedAt time.Time // zero: nobody has set it
}

// VariableGroup returns an environment variable group. Everybody may see it.
func (m *Market) VariableGroup(ctx context.Context, name string) (VariableGroup, error) {
	if name != RunningGroup && name != StagingGroup {
		return VariableGroup{}, backstay.Errorf(backstay.NotFound, "Environment variable group not found")
	}
	all, err := m.variableGroups(ctx)
	return all[name], err
}

func (m *Market) variableGroups(ctx context.Context) (map[string]VariableGroup, error) {
	sealed, err := m.Store.EnvironmentGroups(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]VariableGroup{}
	for _, name := range []string{RunningGroup, StagingGroup} {
		g := VariableGroup{Name: name, Variables: map[string]string{}, UpdatedAt: sealed[name].UpdatedAt}
		if err := m.openJSON(groupContext(name), sealed[name].Sealed, &g.Variables); err != nil {
			return nil, err
		}
		all[name] = g
	}
	return all, nil
}

func groupContext(name string) string { return "environment group/" + name }

// SetVariableGroup sets the given variables of a group, unsets those that are nil, and returns all.
func (m *Market) SetVariableGroup(
	ctx context.Context, actor backstay.Actor, name string, changes map[string]*string,
) (VariableGroup, error) {
	g, err := m.VariableGroup(ctx, name)
	if err != nil {
		return g, err
	}
	if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
		return g, err
	}
	if err := checkVariables(changes); err != nil {
		return g, err
	}
	e := newEvent(actor, "environment_variable_group.update",
		backstay.Target{ID: name, Type: "environment_variable_group", Name: name}, place{},
		request(details{"environment_variables": shownVariables(changes)}))
	g.UpdatedAt, err = m.Store.UpdateEnvironmentGroup(ctx, name, func(sealed []byte) ([]byte, error) {
		g.Variables = map[string]string{}
		if err := m.openJSON(groupContext(name), sealed, &g.Variables); err != nil {
			return nil, err
		}
		changeVariables(g.Variables, changes)
		return m.sealJSON(groupContext(name), g.Variables)
	}, e)
	return g, err
}
