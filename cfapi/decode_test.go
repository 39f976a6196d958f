package cfapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type exampleBody struct {
	Name          string `json:"name"`
	Suspended     *bool  `json:"suspended"`
	Tags          tags   `json:"tags"`
	Parameters    object `json:"parameters"`
	Relationships struct {
		Space toOne `json:"space"`
	} `json:"relationships"`
	Var variables `json:"var"`
}

func decodeText(body string) (exampleBody, error) {
	hr := httptest.NewRequest("POST", "/", strings.NewReader(body))
	hr.Body = http.MaxBytesReader(nil, hr.Body, 4096)
	var into exampleBody
	err := decode(&request{Request: hr}, &into)
	return into, err
}

func TestDecode(t *testing.T) {
	t.Parallel()
	b, err := decodeText(
		`{"name":"n","tags":["a"],"parameters": {"x": 1} ,"relationships":{"space":{"data":{"guid":"g"}}},"var":{"A":"1","B":null}}`,
	)
	if err != nil {
		t.Fatal(err)
	}
	if b.Name != "n" || b.Suspended != nil || len(b.Tags) != 1 || string(b.Parameters) != `{"x": 1}` ||
		b.Relationships.Space.Data.GUID != "g" {
		t.Errorf("got %+v", b)
	}
	if v, ok := b.Var["B"]; *b.Var["A"] != "1" || v != nil || !ok {
		t.Errorf("var: %v", b.Var)
	}
}

func TestAbsentIsNotEmpty(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][2]bool{ // whether there are tags, and parameters
		`{}`:                             {false, false},
		`{"tags":null}`:                  {false, false},
		`{"tags":[]}`:                    {true, false},
		`{"parameters":null}`:            {false, false},
		`{"parameters":{}}`:              {false, true},
		`{"tags":[],"parameters": {  }}`: {true, true},
	} {
		b, err := decodeText(body)
		if got := [2]bool{b.Tags != nil, b.Parameters != nil}; got != want || err != nil {
			t.Errorf("%s: got %v, %v; want %v", body, got, err, want)
		}
	}
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	const parse, unprocessable = http.StatusBadRequest, http.StatusUnprocessableEntity
	for body, want := range map[string]struct {
		status int
		detail string
	}{
		``:                                {parse, "Request invalid due to parse error: unexpected end of JSON input"},
		`{`:                               {parse, "Request invalid due to parse error: unexpected end of JSON input"},
		`{"name":"a"} {}`:                 {parse, "Request invalid due to parse error: invalid character '{' after top-level value"},
		`name=a`:                          {parse, "Request invalid due to parse error: invalid character 'a' in literal null (expecting 'u')"},
		`[]`:                              {parse, "Request invalid due to parse error: the body must be a JSON object"},
		`"a"`:                             {parse, "Request invalid due to parse error: the body must be a JSON object"},
		"{\"name\":\"\xff\"}":             {parse, "Request invalid due to parse error: the body is not UTF-8"},
		`{"name":"` + big + `"}`:          {parse, "Request invalid due to parse error: the body is larger than 4KB"},
		`{"nmae":"a"}`:                    {unprocessable, "Unknown field(s): 'nmae'"},
		`{"relationships":{"org":{}}}`:    {unprocessable, "Unknown field(s): 'org'"},
		`{"name":1}`:                      {unprocessable, "Name must be a string"},
		`{"name":["a"]}`:                  {unprocessable, "Name must be a string"},
		`{"suspended":"no"}`:              {unprocessable, "Suspended must be a boolean"},
		`{"relationships":[]}`:            {unprocessable, "Relationships must be an object"},
		`{"relationships":{"space":"x"}}`: {unprocessable, "Relationships.space must be an object"},
		`{"relationships":{"space":{"data":{"guid":7}}}}`: {unprocessable, "Relationships.space.data.guid must be a string"},
		`{"tags":"a,b"}`:                            {unprocessable, "Tags must be a list of strings"},
		`{"tags":["a",1]}`:                          {unprocessable, "Tags must be a list of strings"},
		`{"parameters":"{}"}`:                       {unprocessable, "Parameters must be an object"},
		`{"parameters":[1]}`:                        {unprocessable, "Parameters must be an object"},
		`{"var":{"A":1}}`:                           {unprocessable, "Non-string value in environment variable for key 'A'"},
		`{"var":["A"]}`:                             {unprocessable, "Var must be an object"},
		`{"name":"a\u0000b"}`:                       {unprocessable, "A text must not contain the character NUL"},
		`{"parameters":{"a":[null,{"b\u0000":1}]}}`: {unprocessable, "A text must not contain the character NUL"},
	} {
		t.Run(body[:min(len(body), 40)], func(t *testing.T) {
			t.Parallel()
			_, err := decodeText(body)
			if err == nil {
				t.Fatal("accepted")
			}
			if e := translate(err); e.status != want.status || e.Detail != want.detail {
				t.Errorf("got %d %q, want %d %q", e.status, e.Detail, want.status, want.detail)
			}
		})
	}
}

var big = strings.Repeat("x", 5000)

func TestABackslashIsNoNUL(t *testing.T) {
	t.Parallel()
	if b, err := decodeText(`{"name":"a\\u0000"}`); err != nil || b.Name != `a\u0000` {
		t.Errorf("got %q, %v", b.Name, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(
		`{"name":"n","tags":["a"],"parameters":{"x":1},"relationships":{"space":{"data":{"guid":"g"}}},"var":{"A":"1","B":null}}`,
	)
	f.Add(`{"name":"\u0000","NAME":null,"tags":{},"var":[]}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, body string) {
		b, err := decodeText(body)
		if err != nil {
			if e := translate(err); e.status != http.StatusBadRequest && e.status != http.StatusUnprocessableEntity {
				t.Errorf("status %d for %v", e.status, err)
			}
			return
		}
		for _, text := range append([]string{b.Name}, b.Tags...) {
			if !isText(text) {
				t.Errorf("%q reaches the database", text)
			}
		}
	})
}
