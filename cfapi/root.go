package cfapi

import "net/http"

// apiVersion is what clients are promised: from 3.205.0 on, that an app may have several bindings to one instance.
const apiVersion = "3.205.0"

// showRoot is what a client discovers everything else from. Login and UAA live on the same origin;
// what is null, Backstay does not have.
func (s *Server) showRoot(w http.ResponseWriter, r *request) error {
	type versioned struct {
		link
		Meta map[string]string `json:"meta"`
	}
	home := s.at("")
	return writeJSON(w, http.StatusOK, map[string]any{"links": map[string]any{
		"self":                home,
		"cloud_controller_v2": nil,
		"cloud_controller_v3": versioned{s.at("/v3"), map[string]string{"version": apiVersion}},
		"login":               home,
		"uaa":                 home,
		"network_policy_v0":   nil,
		"network_policy_v1":   nil,
		"credhub":             nil,
		"routing":             nil,
		"logging":             nil,
		"log_cache":           home,
		"log_stream":          nil,
		"app_ssh":             nil,
	}})
}

func (s *Server) showV3(w http.ResponseWriter, r *request) error {
	all := links{"self": s.at("/v3")}
	for _, collection := range []string{
		"apps", "audit_events", "deployments", "feature_flags", "organizations", "processes", "roles", "routes",
		"service_brokers", "service_credential_bindings", "service_instances", "service_offerings", "service_plans",
		"service_usage_events", "spaces", "stacks", "users",
	} {
		all[collection] = s.at("/v3/%s", collection)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"links": all})
}

func (s *Server) showInfo(w http.ResponseWriter, r *request) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"name":        "Backstay",
		"description": "Backing services through the cf command",
		"build":       s.Version,
		"version":     0,
		"custom":      struct{}{},
		"cli_version": map[string]string{"minimum": "", "recommended": ""},
		"links":       links{"self": s.at("/v3/info")},
	})
}

// showOldInfo is the one answer of the second version of the API: older clients find the login server by it.
func (s *Server) showOldInfo(w http.ResponseWriter, r *request) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"name":                        "Backstay",
		"build":                       s.Version,
		"support":                     "",
		"version":                     0,
		"description":                 "Backing services through the cf command",
		"authorization_endpoint":      s.URL,
		"token_endpoint":              s.URL,
		"min_cli_version":             nil,
		"min_recommended_cli_version": nil,
		"api_version":                 "2.268.0",
		"osbapi_version":              "2.17",
	})
}
