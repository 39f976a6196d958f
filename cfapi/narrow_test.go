package cfapi

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestEveryListIsNarrowed keeps a list from taking a filter that every list takes, and not heeding it.
func TestEveryListIsNarrowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, rt := range h.server.routes() {
		if !slices.Contains(rt.params.names, "created_ats") {
			continue
		}
		s := h.scene(t, "admin")
		all := total(s.ask(rt, "admin"))
		for query, want := range map[string]int{
			"created_ats[gt]=2000-01-01T00:00:00Z":      all,
			"created_ats[lt]=2000-01-01T00:00:00Z":      0,
			"updated_ats=2000-01-01T00:00:00Z":          0,
			"label_selector=!nobody.example/has":        all,
			"label_selector=nobody.example/has,!others": 0,
		} {
			name, _, _ := strings.Cut(query, "=")
			if !slices.Contains(rt.params.names, withoutRelation(name)) {
				continue
			}
			path := strings.Fields(s.fill(strings.Replace(rt.pattern, "{guid}", recipes[rt.pattern].guid, 1)))[1]
			if ask := recipes[rt.pattern].ask; ask != "" {
				query += "&" + s.fill(ask)
			}
			r := httptest.NewRequest("GET", path+"?"+query, nil)
			r.Header.Set("Authorization", "bearer admin")
			w := httptest.NewRecorder()
			h.handler.ServeHTTP(w, r)
			if got := total(w); got != want {
				t.Errorf("%s?%s: %d found of %d, want %d: %d %.300s", path, query, got, all, want, w.Code, w.Body)
			}
		}
	}
}
