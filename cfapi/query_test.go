package cfapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/market"
)

func TestListOfAFilter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query string
		want  []string
	}{
		"not given":             {"", nil},
		"one":                   {"names=orders", []string{"orders"}},
		"several":               {"names=a,b", []string{"a", "b"}},
		"as the cf command":     {"names=a%2Cb", []string{"a", "b"}},
		"a comma within a name": {"names=a%252Cb%2Cc", []string{"a,b", "c"}},
		"no value is a value":   {"names=", []string{""}},
		"a plus is a plus":      {"names=a%2Bb", []string{"a+b"}},
		"a plus is a space":     {"names=a+b", []string{"a b"}},
		"a bare percent":        {"names=100%25", []string{"100%"}},
		"no NUL by the back":    {"names=a%2500", []string{"a%00"}},
		"beyond ASCII":          {"names=%C3%A9t%C3%A9", []string{"été"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, err := parseQuery(c.query, pages(byName, "names"))
			if err != nil {
				t.Fatal(err)
			}
			if got := q.list("names"); !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
				t.Errorf("list = %#v, want %#v", got, c.want)
			}
		})
	}
}

func TestPageAndOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query string
		page  market.Page
		order market.Order
	}{
		"unset":      {"", market.Page{Number: 1, Size: 50}, market.Order{}},
		"set":        {"page=3&per_page=5000", market.Page{Number: 3, Size: 5000}, market.Order{}},
		"ascending":  {"order_by=name", market.Page{Number: 1, Size: 50}, market.Order{By: market.ByName}},
		"descending": {"order_by=-created_at", market.Page{Number: 1, Size: 50}, market.Order{By: market.ByCreation, Descending: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, err := parseQuery(c.query, pages(byName))
			if err != nil || q.page != c.page || q.order != c.order {
				t.Errorf("page %v, order %v, error %v; want %v, %v", q.page, q.order, err, c.page, c.order)
			}
		})
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	takes := pages(byTime, "names", "available", "type").including("app", "space")
	for query, detail := range map[string]string{
		"nmae=x":                                 "Unknown query parameter(s): 'nmae'. Valid parameters are: 'available', 'created_ats', 'include', 'names', 'order_by', 'page', 'per_page', 'type', 'updated_ats'",
		"b=1&a=1":                                "Unknown query parameter(s): 'a', 'b'. Valid",
		"names=a&names=b":                        "names was given 2 times; separate several values by commas",
		"names=%00":                              "names must be valid UTF-8 without NUL",
		"names=%ff":                              "names must be valid UTF-8 without NUL",
		"names=%zz":                              `invalid URL escape "%zz"`,
		"page=0":                                 "Page must be between 1 and 2147483647",
		"page=-1":                                "Page must be between 1 and 2147483647",
		"page=99999999999999999":                 "Page must be between 1 and 2147483647",
		"page=":                                  "Page must be between 1 and 2147483647",
		"per_page=5001":                          "Per page must be between 1 and 5000",
		"per_page=x":                             "Per page must be between 1 and 5000",
		"order_by=name":                          "Order by can only be: 'created_at', 'updated_at'",
		"order_by=":                              "Order by can only be: 'created_at', 'updated_at'",
		"created_ats=now":                        "Created ats has an invalid timestamp format. Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'",
		"created_ats[gt]=2026-01-02T03:04:05.6Z": "Created ats has an invalid timestamp format",
		"updated_ats[lt]=2026-01-02T03:04:05+01:00": "Updated ats has an invalid timestamp format",
		"created_ats[ne]=2026-01-02T03:04:05Z":      "Created ats has an invalid relational operator: 'ne'. Valid operators are: 'gt', 'gte', 'lt', 'lte'",
		"created_ats[=2026-01-02T03:04:05Z":         "Created ats has an invalid relational operator: ''",
		"names[gt]=a":                               "Unknown query parameter(s): 'names[gt]'.",
		"label_selector=a":                          "Unknown query parameter(s): 'label_selector'.",
		"include=app,droplet":                       "Invalid included resource: 'droplet'. Valid included resources are: 'app', 'space'",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			_, err := parseQuery(query, takes)
			if err == nil {
				t.Fatal("accepted")
			}
			e := translate(err)
			if e.status != http.StatusBadRequest || e.Code != 10005 ||
				!strings.HasPrefix(e.Detail, "The query parameter is invalid: "+detail) {
				t.Errorf("got %d %d %q", e.status, e.Code, e.Detail)
			}
		})
	}
}

func TestFixedValues(t *testing.T) {
	t.Parallel()
	q, err := parseQuery("available=yes&type=app,route", params{names: []string{"available", "type"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.boolean("available", "Available"); err == nil {
		t.Error("available=yes was accepted")
	}
	if _, err := q.among("type", "Type", "app", "key"); err == nil {
		t.Error("type=route was accepted")
	}
}

func TestPaginationKeepsTheQuery(t *testing.T) {
	t.Parallel()
	s := &Server{URL: "https://api.example.org"}
	page := func(query string) *request {
		u := &url.URL{Path: "/v3/service_instances", RawQuery: query}
		q, err := parseQuery(query, pages(byName, "names", "fields[space]"))
		if err != nil {
			t.Fatal(err)
		}
		return &request{Request: &http.Request{URL: u}, query: q}
	}
	p := s.paginate(page("per_page=2&page=2&names=a%252Cb%2Cc&fields[space]=guid"), 5)
	const base = "https://api.example.org/v3/service_instances?fields%5Bspace%5D=guid&names=a%252Cb%2Cc&page="
	if p.TotalPages != 3 || p.First.Href != base+"1&per_page=2" || p.Last.Href != base+"3&per_page=2" ||
		p.Next.Href != base+"3&per_page=2" || p.Previous.Href != base+"1&per_page=2" {
		t.Errorf("got %+v, next %+v, previous %+v", p, p.Next, p.Previous)
	}
	if p := s.paginate(page(""), 0); p.TotalPages != 1 || p.Next != nil || p.Previous != nil {
		t.Errorf("an empty list: %+v", p)
	}
	if p := s.paginate(page("page=9&per_page=2"), 3); p.Next != nil || !strings.Contains(p.Previous.Href, "page=2&") {
		t.Errorf("beyond the end: %+v", p)
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("names=a%252Cb&page=2&per_page=7&order_by=-name&include=app")
	f.Add("names=%2500%ff&page=0x1")
	f.Add("a;b=c&&=&names")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw, pages(byName, "names").including("app"))
		if err != nil {
			if e := translate(err); e.status != http.StatusBadRequest {
				t.Errorf("status %d for %v", e.status, err)
			}
			return
		}
		for _, name := range q.list("names") {
			if !isText(name) {
				t.Errorf("%q reaches the database", name)
			}
		}
		if q.page.Number < 1 || q.page.Size < 1 || q.page.Size > maxPerPage {
			t.Errorf("page %+v", q.page)
		}
	})
}
