package osb

import (
	"encoding/json"

	"github.com/backstay/backstay"
)

// The bodies of requests (OSB 2.17), as both ends have them.

type provisionBody struct {
	ServiceID       backstay.ServiceID      `json:"service_id"`
	PlanID          backstay.ServicePlanID  `json:"plan_id"`
	OrganizationID  backstay.OrganizationID `json:"organization_guid"`
	SpaceID         backstay.SpaceID        `json:"space_guid"`
	Context         *contextBody            `json:"context,omitempty"`
	Parameters      json.RawMessage         `json:"parameters,omitempty"`
	MaintenanceInfo *maintenanceBody        `json:"maintenance_info,omitempty"`
	CopyOf          backstay.InstanceID     `json:"backstay_copy_of,omitempty"` // of the extension "copies"
}

type updateBody struct {
	ServiceID       backstay.ServiceID     `json:"service_id"`
	PlanID          backstay.ServicePlanID `json:"plan_id,omitempty"`
	Context         *contextBody           `json:"context,omitempty"`
	Parameters      json.RawMessage        `json:"parameters,omitempty"`
	Previous        *previousBody          `json:"previous_values,omitempty"`
	MaintenanceInfo *maintenanceBody       `json:"maintenance_info,omitempty"`
}

type previousBody struct {
	PlanID          backstay.ServicePlanID  `json:"plan_id,omitempty"`
	OrganizationID  backstay.OrganizationID `json:"organization_id,omitempty"`
	SpaceID         backstay.SpaceID        `json:"space_id,omitempty"`
	MaintenanceInfo *maintenanceBody        `json:"maintenance_info,omitempty"`
}

type bindBody struct {
	ServiceID  backstay.ServiceID     `json:"service_id"`
	PlanID     backstay.ServicePlanID `json:"plan_id"`
	AppID      backstay.AppID         `json:"app_guid,omitempty"` // of platforms older than 2.13
	Resource   *bindResource          `json:"bind_resource,omitempty"`
	Context    *contextBody           `json:"context,omitempty"`
	Parameters json.RawMessage        `json:"parameters,omitempty"`
}

type bindResource struct {
	AppID backstay.AppID `json:"app_guid,omitempty"`
	Route string         `json:"route,omitempty"`
}

// contextBody is the context of Cloud Foundry, and of Kubernetes, whose clusters and namespaces are what organizations
// and spaces are elsewhere.
type contextBody struct {
	Platform         string                  `json:"platform"`
	OrganizationID   backstay.OrganizationID `json:"organization_guid,omitempty"`
	OrganizationName string                  `json:"organization_name,omitempty"`
	SpaceID          backstay.SpaceID        `json:"space_guid,omitempty"`
	SpaceName        string                  `json:"space_name,omitempty"`
	InstanceName     string                  `json:"instance_name,omitempty"`
	ClusterID        string                  `json:"clusterid,omitempty"`
	Namespace        string                  `json:"namespace,omitempty"`
}

const kubernetes = "kubernetes"

func contextOf(c backstay.Context) *contextBody {
	if c == (backstay.Context{}) {
		return nil
	}
	if c.Platform == kubernetes {
		return &contextBody{
			Platform: kubernetes, ClusterID: string(c.OrganizationID), Namespace: string(c.SpaceID),
			InstanceName: c.InstanceName,
		}
	}
	return &contextBody{
		Platform: c.Platform, OrganizationID: c.OrganizationID, OrganizationName: c.OrganizationName, SpaceID: c.SpaceID,
		SpaceName: c.SpaceName, InstanceName: c.InstanceName,
	}
}

// context is where an instance is: as the context says, or where there is none as the fields that were before it.
func (b *contextBody) context(organization backstay.OrganizationID, space backstay.SpaceID) backstay.Context {
	c := backstay.Context{OrganizationID: organization, SpaceID: space}
	if b == nil {
		return c
	}
	c.Platform, c.InstanceName = b.Platform, b.InstanceName
	c.OrganizationName, c.SpaceName = b.OrganizationName, b.SpaceName
	for _, id := range []backstay.OrganizationID{backstay.OrganizationID(b.ClusterID), b.OrganizationID} {
		if id != "" {
			c.OrganizationID = id
		}
	}
	for _, id := range []backstay.SpaceID{backstay.SpaceID(b.Namespace), b.SpaceID} {
		if id != "" {
			c.SpaceID = id
		}
	}
	return c
}

type maintenanceBody struct {
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
}

func maintenanceOf(m *backstay.MaintenanceInfo) *maintenanceBody {
	if m == nil {
		return nil
	}
	return &maintenanceBody{Version: m.Version, Description: m.Description}
}

func (b *maintenanceBody) info() *backstay.MaintenanceInfo {
	if b == nil {
		return nil
	}
	return &backstay.MaintenanceInfo{Version: b.Version, Description: b.Description}
}

// The bodies of answers.

type answerBody struct {
	DashboardURL string                `json:"dashboard_url,omitempty"`
	Operation    backstay.OperationKey `json:"operation,omitempty"`
}

type bindingBody struct {
	Operation       backstay.OperationKey `json:"operation,omitempty"`
	Credentials     backstay.Credentials  `json:"credentials,omitempty"`
	SyslogDrainURL  string                `json:"syslog_drain_url,omitempty"`
	RouteServiceURL string                `json:"route_service_url,omitempty"`
	VolumeMounts    json.RawMessage       `json:"volume_mounts,omitempty"`
	Parameters      json.RawMessage       `json:"parameters,omitempty"`
}

type instanceBody struct {
	ServiceID       backstay.ServiceID     `json:"service_id,omitempty"`
	PlanID          backstay.ServicePlanID `json:"plan_id,omitempty"`
	DashboardURL    string                 `json:"dashboard_url,omitempty"`
	Parameters      json.RawMessage        `json:"parameters,omitempty"`
	MaintenanceInfo *maintenanceBody       `json:"maintenance_info,omitempty"`
}

type operationBody struct {
	State            backstay.OperationState `json:"state"`
	Description      string                  `json:"description,omitempty"`
	InstanceUsable   *bool                   `json:"instance_usable,omitempty"`
	UpdateRepeatable *bool                   `json:"update_repeatable,omitempty"`
	Notice           string                  `json:"backstay_notice,omitempty"`
}

type errorBody struct {
	Error            backstay.ErrorCode `json:"error,omitempty"`
	Description      string             `json:"description,omitempty"`
	InstanceUsable   *bool              `json:"instance_usable,omitempty"`
	UpdateRepeatable *bool              `json:"update_repeatable,omitempty"`
}

// no is what a flag that is true by itself says.
func no(flag *bool) bool { return flag != nil && !*flag }

// unless is the flag of which no tells: nil if nothing is wrong.
func unless(wrong bool) *bool {
	if !wrong {
		return nil
	}
	return new(false)
}
