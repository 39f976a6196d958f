package sender

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestAddressBehindProxies(t *testing.T) {
	t.Parallel()
	trusted, err := ParsePrefixes("10.0.0.0/8, 127.0.0.1,2001:db8:aa::/48")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		from      string
		forwarded []string
		want      string
	}{
		"nobody between":                         {"192.0.2.1:4000", nil, "192.0.2.1"},
		"who is not trusted says what they want": {"192.0.2.1:4000", []string{"198.51.100.7"}, "192.0.2.1"},
		"a proxy":                                {"10.1.2.3:4000", []string{"198.51.100.7"}, "198.51.100.7"},
		"a proxy that says nothing":              {"10.1.2.3:4000", nil, "10.1.2.3"},
		"a proxy that says nonsense":             {"10.1.2.3:4000", []string{"unknown"}, "10.1.2.3"},
		"a client that pretends to be another":   {"10.1.2.3:4000", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"a client that pretends to be a proxy": {"10.1.2.3:4000", []string{"203.0.113.9, 10.9.9.9, 198.51.100.7"},
			"198.51.100.7"},
		"two proxies": {"10.1.2.3:4000", []string{"203.0.113.9, 198.51.100.7, 10.4.5.6"},
			"198.51.100.7"},
		"two headers": {"10.1.2.3:4000", []string{"203.0.113.9, 198.51.100.7", "10.4.5.6"},
			"198.51.100.7"},
		"proxies alone": {"10.1.2.3:4000", []string{"10.4.5.6"}, "10.4.5.6"},
		"with a port":   {"10.1.2.3:4000", []string{"198.51.100.7:1234"}, "198.51.100.7"},
		"IPv6":          {"[2001:db8:aa::1]:4000", []string{"2001:db8:bb::1"}, "2001:db8:bb::1"},
		"IPv6 with a port": {"[2001:db8:aa::1]:4000", []string{"[2001:db8:bb::1]:99"},
			"2001:db8:bb::1"},
		"IPv4 in IPv6": {"[::ffff:10.1.2.3]:4000", []string{"::ffff:198.51.100.7"},
			"198.51.100.7"},
		"no address": {"@", []string{"198.51.100.7"}, "@"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := heard(trusted, tc.from, tc.forwarded); got != tc.want {
				t.Errorf("heard %s, want %s", got, tc.want)
			}
			if got := heard(nil, tc.from, tc.forwarded); strings.Contains(got, "198.51") ||
				strings.Contains(got, "2001:db8:bb") {
				t.Errorf("without trust, heard %s", got)
			}
		})
	}
}

func heard(trusted []netip.Prefix, from string, forwarded []string) (address string) {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = from
	r.Header["X-Forwarded-For"] = forwarded
	Behind(trusted, http.HandlerFunc(func(_ http.ResponseWriter,
		r *http.Request) {
		address = Address(r)
	})).ServeHTTP(httptest.NewRecorder(), r)
	return address
}

func TestParsePrefixes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"proxy.example.org", "10.0.0.0/33", "10.0.0.1,", "10.0.0.0/8;::1"} {
		all, err := ParsePrefixes(text)
		if err == nil && text != "10.0.0.1," {
			t.Errorf("%q is %v", text, all)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add("10.0.0.1:1", "198.51.100.7, 10.0.0.2")
	f.Add("192.0.2.1:1", "\x00,,[::1]:x%zone")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, from, forwarded string) {
		got := heard(trusted, from, []string{forwarded})
		if direct := heard(nil, from, nil); got != direct && !strings.HasPrefix(direct, "10.") {
			t.Errorf("%q, forwarding %q, is not trusted and yet %q was heard", from, forwarded, got)
		}
	})
}
