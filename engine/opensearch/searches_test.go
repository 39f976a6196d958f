package opensearch_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
)

// opened has a session open a search that goes on, and returns the id by which it does.
func opened(t *testing.T, s session, r request) string {
	t.Helper()
	var answer struct {
		Scroll string `json:"_scroll_id"`
		PIT    string `json:"pit_id"`
	}
	if err := json.Unmarshal([]byte(mustAsk(t, s, r)), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Scroll + answer.PIT
}

// TestSearchesOfOthersGoOn: who may only read ends the searches that it knows the ids of, as its own, and not all.
func TestSearchesOfOthersGoOn(t *testing.T) {
	t.Parallel()
	n, writer, reader := serving(t)
	for _, key := range []string{"a", "b", "c"} {
		mustAsk(t, writer, request{"PUT", "/keys/_doc/" + key + "?refresh=true", `{"v": 1}`})
	}
	scroll := request{"POST", "/keys/_search?scroll=5m&size=1", ""}
	moment := request{"POST", "/keys/_search/point_in_time?keep_alive=5m", ""}
	others, othersMoment := opened(t, writer, scroll), opened(t, writer, moment)
	own, ownMoment := opened(t, reader, scroll), opened(t, reader, moment)
	inQuery := "?source_content_type=application/json&source=" + url.QueryEscape(`{"scroll_id": "_all"}`)
	wantRefused(t, n, "a reader", reader, []request{
		{"DELETE", "/_search/scroll/_all", ""}, {"DELETE", "/_search/scroll", `{"scroll_id": "_all"}`},
		{"DELETE", "/_search/scroll", `{"scroll_id": ["_all"]}`}, {"DELETE", "/_search/scroll?scroll_id=_all", ""},
		{"DELETE", "/_search/scroll" + inQuery, ""}, {"DELETE", "//_search/scroll/%5fall", ""},
		{"DELETE", "/_search/point_in_time/_all", ""}, {"DELETE", "/_search/point_in_time", `{"pit_id": ["_all"]}`},
		{"GET", "/_search/point_in_time/_all", ""}, {"GET", "/_cat/pit_segments/_all", ""},
	})
	goesOn := func(s session, id, moment string, want bool) {
		t.Helper()
		_, err := s.ask(t.Context(), http.MethodPost, "/_search/scroll", `{"scroll": "5m", "scroll_id": "`+id+`"}`)
		if (err == nil) != want {
			t.Errorf("a search by pages goes on: %v, want %t", err, want)
		}
		_, err = s.ask(t.Context(), http.MethodPost, "/_search", `{"pit": {"id": "`+moment+`"}}`)
		if (err == nil) != want {
			t.Errorf("a search in what there was goes on: %v, want %t", err, want)
		}
	}
	goesOn(writer, others, othersMoment, true)
	goesOn(reader, own, ownMoment, true)
	mustAsk(t, reader, request{"DELETE", "/_search/scroll", `{"scroll_id": ["` + own + `"]}`})
	mustAsk(t, reader, request{"DELETE", "/_search/point_in_time", `{"pit_id": ["` + ownMoment + `"]}`})
	goesOn(reader, own, ownMoment, false)
	goesOn(writer, others, othersMoment, true)
	mustAsk(t, writer, request{"DELETE", "/_search/scroll/" + url.PathEscape(others), ""})
	if _, err := writer.ask(t.Context(), http.MethodPost, "/_search/scroll", `{"scroll_id": "`+others+`"}`); err == nil {
		t.Error("a search by pages goes on that its user has ended")
	}
}
