package front

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// TestAmend has requests be what OpenSearch is to be asked in their place, or be refused.
func TestAmend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/", "", "/"},
		{"GET", "/books/_search?q=a", "", "/books/_search?q=a"},
		{"GET", "/b%2Fc/_doc/_all%2Fd", "", "/b%2Fc/_doc/_all%2Fd"},

		{"DELETE", "/_search/scroll", `{"scroll_id": "a"}`, `/_search/scroll {"scroll_id":["a"]}`},
		{"DELETE", "/_search/scroll?pretty", `{"scroll_id": ["a", "b"]}`, `/_search/scroll?pretty= {"scroll_id":["a","b"]}`},
		{"DELETE", "/_search/scroll/a,b?scroll_id=c", "", `/_search/scroll {"scroll_id":["a","b","c"]}`},
		{"DELETE", "/_search/scroll?source=" + url.QueryEscape(`{"scroll_id":"a"}`) + "&source_content_type=application/json",
			"", `/_search/scroll {"scroll_id":["a"]}`},
		{"DELETE", "/_search/point_in_time", `{"pit_id": ["a"]}`, `/_search/point_in_time {"pit_id":["a"]}`},
		{"POST", "/_search/scroll", `{"scroll_id": "a"}`, `/_search/scroll {"scroll_id": "a"}`},
		{"DELETE", "/_search/scroll/_all", "", "403"},
		{"DELETE", "//%5Fsearch//scroll/%5fall/", "", "403"},
		{"DELETE", "/_search/scroll/a,_all", "", "403"},
		{"DELETE", "/_search/scroll?scroll_id=a&scroll_id=_all", "", "403"},
		{"DELETE", "/_search/scroll", `{"scroll_id": ["\u005fall"]}`, "403"},
		{"DELETE", "/_search/scroll", `{"scroll_id": "a", "scroll_id": "_all"}`, "403"},
		{"DELETE", "/_search/scroll", `{"scroll_id": "_all", "scroll_id": "a"}`, `/_search/scroll {"scroll_id":["a"]}`},
		{"DELETE", "/_search/scroll?source=" + url.QueryEscape(`{"scroll_id":"_all"}`), "", "403"},
		{"DELETE", "/_search/scroll", "scroll_id: _all", "400"},
		{"DELETE", "/_search/scroll", `{"scroll_id": "` + strings.Repeat("a", contextsLimit) + `"}`, "400"},
		{"DELETE", "/_search/point_in_time/_all", "", "403"}, {"GET", "/_search/point_in_time/_all", "", "403"},
		{"DELETE", "/_search/point_in_time", `{"pit_id": "_all"}`, "403"},

		{"GET", "/_cluster/settings?include_defaults=true&flat_settings=true", "", "/_cluster/settings?flat_settings=true"},
		{"GET", "/_stats?level=shards", "",
			"/_stats?filter_path=-indices.%5C.opendistro_security%2C-%2A%2A.shard_path&level=shards"},
		{"GET", "/books/_mapping?filter_path=a&filter_path=b", "",
			"/books/_mapping?filter_path=a%2Cb%2C-%5C.opendistro_security"},
		{"GET", "/books/_doc/_stats", "", "/books/_doc/_stats"},

		{"DELETE", "/_all", "", "/" + everyIndex}, {"DELETE", "/%2A?timeout=1m", "", "/" + everyIndex + "?timeout=1m"},
		{"PUT", "/_settings", "{}", "/" + everyIndex + "/_settings {}"},
		{"PUT", "/*/_settings", "{}", "/" + everyIndex + "/_settings {}"},
		{"POST", "/_all/_close", "", "/" + everyIndex + "/_close"},
		{"POST", "/_cache/clear", "", "/" + everyIndex + "/_cache/clear"}, {"POST", "/_flush", "", "/" + everyIndex + "/_flush"},
		{"POST", "/_all/_mapping/a%2Fb", "{}", "/" + everyIndex + "/_mapping/a%2Fb {}"},
		{"POST", "/_delete_by_query", "{}", "/_delete_by_query {}"}, {"POST", "/", "{}", "/ {}"},
		{"POST", "/_all/_search", "{}", "/_all/_search {}"}, {"GET", "/_all", "", "/_all"},
		{"DELETE", "/books", "", "/books"}, {"DELETE", "/b*", "", "/b*"}, {"DELETE", "/_all/_alias/a", "", "/_all/_alias/a"},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		if got := amended(t, r); got != c.want {
			t.Errorf("%s %s %.100s is %.200s, want %s", c.method, c.path, c.body, got, c.want)
		}
	}
}

// amended is what a request is behind amend, in the form of the table above.
func amended(t *testing.T, r *http.Request) string {
	if refused := amend(r); refused != nil {
		return strconv.Itoa(refused.status)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.ContentLength != int64(len(body)) {
		t.Errorf("%s says that it has %d bytes, and has %d", r.URL, r.ContentLength, len(body))
	}
	got := strings.NewReplacer("%2A", "*", "%2C", ",").Replace(r.URL.EscapedPath())
	if r.URL.RawQuery != "" {
		got += "?" + r.URL.RawQuery
	}
	if len(body) > 0 {
		got += " " + string(body)
	}
	return got
}

// TestPackedContexts ends searches by a body as clients send it that save room.
func TestPackedContexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ coding, text, want string }{
		{"gzip", `{"scroll_id": "a"}`, `/_search/scroll {"scroll_id":["a"]}`},
		{"gzip", `{"scroll_id": "_all"}`, "403"},
		{"gzip", `{"scroll_id": "` + strings.Repeat("a", contextsLimit) + `"}`, "400"},
		{"deflate", `{"scroll_id": "a"}`, "400"},
	} {
		var body bytes.Buffer
		w := gzip.NewWriter(&body)
		io.WriteString(w, c.text)
		w.Close()
		r := httptest.NewRequest(http.MethodDelete, "/_search/scroll", &body)
		r.Header.Set("Content-Encoding", c.coding)
		if got := amended(t, r); got != c.want {
			t.Errorf("%s %.100s is %s, want %s", c.coding, c.text, got, c.want)
		}
	}
}
