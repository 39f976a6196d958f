package keeper_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// request speaks the protocol by hand.
func request(t *testing.T, c keeper.Config, method, path, body string) *http.Response {
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", keepertest.Socket(c))
	}
	client := http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://keeper"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	return response
}

func TestProtocolIsStrict(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	keepertest.Run(t, c)
	const spec = `{"instance": "i", "generation": 1, "engine": "postgres", "version": "15"`
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"who it is", "GET", "/v1/keeper", "", 200, `"protocol":2`},
		{"another version", "GET", "/v1/instances/i", "", 404, ""},
		{"unknown field", "PUT", "/v2/instances/i", spec + `, "colour": "red"}`, 422, "invalid"},
		{"two values", "PUT", "/v2/instances/i", spec + `} {}`, 422, "invalid"},
		{"not JSON", "PUT", "/v2/instances/i", "{", 422, "invalid"},
		{"too long", "PUT", "/v2/instances/i", `{"instance": "` + strings.Repeat("i", 2<<20) + `"}`, 422, "invalid"},
		{"another id", "PUT", "/v2/instances/j", spec + "}", 422, "invalid"},
		{"path for an id", "PUT", "/v2/instances/..%2F..%2Fetc",
			`{"instance": "../../etc", "generation": 1, "engine": "postgres"}`, 422, "invalid"},
		{"revision that is none", "GET", "/v2/instances/i?after=soon", "", 422, "invalid"},
		{"negative revision", "GET", "/v2/instances/i?after=-1", "", 422, "invalid"},
		{"revision without a next", "GET", "/v2/instances/i?after=9223372036854775807", "", 422, "invalid"},
		{"unknown instance", "GET", "/v2/instances/i", "", 404, "not-found"},
		{"user of no instance", "PUT", "/v2/instances/i/users/u", `{"name": "u", "password": "p"}`, 404, "not-found"},
		{"another user", "PUT", "/v2/instances/i/users/u", `{"name": "v", "password": "p"}`, 422, "invalid"},
		{"all that do not serve", "GET", "/v2/unwell", "", 200, "[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			response := request(t, c, tc.method, tc.path, tc.body)
			text, _ := io.ReadAll(response.Body)
			if response.StatusCode != tc.status || !strings.Contains(string(text), tc.want) {
				t.Errorf("%s %s, want %d %s", response.Status, text, tc.status, tc.want)
			}
		})
	}
}
