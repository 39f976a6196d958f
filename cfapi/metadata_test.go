package cfapi

import (
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/internal/testkit"
)

// TestMetadataIsAudited changes the metadata of everything, and finds each change recorded with who asked for it.
func TestMetadataIsAudited(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	h := newHouseAt(t, dsn)
	s := h.scene(t, "space_developer")
	s.grant("organization_manager", "organization_manager")
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, c := range []struct{ who, path, event string }{
		{"organization_manager", "/v3/organizations/<org>", "audit.organization.update"},
		{"organization_manager", "/v3/spaces/<space>", "audit.space.update"},
		{"space_developer", "/v3/apps/<app>", "audit.app.update"},
		{"space_developer", "/v3/service_instances/<instance>", "audit.service_instance.update"},
		{"space_developer", "/v3/service_credential_bindings/<binding>", "audit.service_key.update"},
		{"admin", "/v3/service_offerings/<offering>", "audit.service.update"},
		{"admin", "/v3/service_plans/<plan>", "audit.service_plan.update"},
		{"admin", "/v3/users/<member>", "audit.user.update"},
	} {
		if w := s.send(c.who,
			"PATCH "+s.fill(c.path)+` {"metadata": {"labels": {"a": "b", "c": null}}}`); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
		}
		var count int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE type = $1 AND actor_name = $2
			AND data = '{"request": {"metadata": {"labels": {"a": "b", "c": null}}}}'`, c.event, c.who).Scan(&count); err != nil {
			t.Fatal(err)
		}
		if count != 1 {
			t.Errorf("%s: %d events of type %s by %s, want 1", c.path, count, c.event, c.who)
		}
	}
}
