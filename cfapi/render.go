package cfapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/backstay/backstay/market"
)

// writeJSON answers with v. Nothing is sent if it cannot be encoded.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	w.Write(body.Bytes()) // if it does not arrive, whoever asked has gone
	return nil
}

// identity leads every resource.
type identity struct {
	GUID      string `json:"guid"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func identify[ID ~string](id ID, created, updated time.Time) identity {
	return identity{string(id), timestamp(created), timestamp(updated)}
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

type link struct {
	Href   string `json:"href"`
	Method string `json:"method,omitempty"`
}

type links map[string]link

func (s *Server) at(format string, args ...any) link {
	return link{Href: s.URL + fmt.Sprintf(format, args...)}
}

// included are related resources that come with an answer.
type included struct {
	Users            []userResource     `json:"users,omitempty"`
	Organizations    []any              `json:"organizations,omitempty"`
	Spaces           []any              `json:"spaces,omitempty"`
	Apps             []appResource      `json:"apps,omitempty"`
	ServiceInstances []any              `json:"service_instances,omitempty"`
	ServicePlans     []planResource     `json:"service_plans,omitempty"`
	ServiceOfferings []offeringResource `json:"service_offerings,omitempty"`
	ServiceBrokers   []brokerResource   `json:"service_brokers,omitempty"`
}

// mixed lets resources of several shapes stand in one list.
func mixed[T, R any](resource func(T) R) func(T) any {
	return func(item T) any { return resource(item) }
}

type listResource[R any] struct {
	Pagination pagination `json:"pagination"`
	Resources  []R        `json:"resources"`
	Included   *included  `json:"included,omitempty"`
}

type pagination struct {
	TotalResults int   `json:"total_results"`
	TotalPages   int   `json:"total_pages"`
	First        link  `json:"first"`
	Last         link  `json:"last"`
	Next         *link `json:"next"`
	Previous     *link `json:"previous"`
}

// writeList answers with a page of a list.
func writeList[T, R any](s *Server, w http.ResponseWriter, r *request, l market.List[T], resource func(T) R,
	with *included) error {
	return writeJSON(w, http.StatusOK, listResource[R]{s.paginate(r, l.Total), convert(l.Items, resource), with})
}

func (s *Server) paginate(r *request, total int) pagination {
	pages := max(1, (total+r.page.Size-1)/r.page.Size)
	at := func(number int) link {
		values := maps.Clone(r.values)
		values.Set("page", strconv.Itoa(number))
		values.Set("per_page", strconv.Itoa(r.page.Size))
		return s.at("%s?%s", r.URL.EscapedPath(), values.Encode())
	}
	p := pagination{TotalResults: total, TotalPages: pages, First: at(1), Last: at(pages)}
	if r.page.Number < pages {
		next := at(r.page.Number + 1)
		p.Next = &next
	}
	if r.page.Number > 1 {
		previous := at(min(r.page.Number-1, pages))
		p.Previous = &previous
	}
	return p
}

func convert[T, R any](items []T, resource func(T) R) []R {
	resources := make([]R, len(items))
	for i, item := range items {
		resources[i] = resource(item)
	}
	return resources
}

// distinct collects the ids that items refer to, each once. It is never nil: no items refer to
// nothing, not to everything.
func distinct[T any, ID ~string](items []T, id func(T) ID) []ID {
	all := []ID{}
	seen := map[ID]bool{"": true}
	for _, item := range items {
		if id := id(item); !seen[id] {
			seen[id] = true
			all = append(all, id)
		}
	}
	return all
}
