package market

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

func TestAddressesOfUserProvidedServices(t *testing.T) {
	t.Parallel()
	const invalid, wrongDrain, wrongRoute = "must be a valid URI", "must be syslog, syslog-tls or https", "must be https"
	for _, c := range []struct{ address, drain, route string }{
		{"", "", ""},
		{"https://example.org", "", ""},
		{"https://u:p@example.org:8443/a?token=b", "", ""},
		{"HTTPS://example.org", "", ""},
		{"https://[::1]:514", "", ""},
		{"syslog://10.0.0.1:514", "", wrongRoute},
		{"syslog-tls://logs.example.org:6514", "", wrongRoute},
		{"http://example.org", wrongDrain, wrongRoute},
		{"example.org", wrongDrain, wrongRoute},
		{"example.org:514", wrongDrain, wrongRoute},
		{"javascript:alert(1)", wrongDrain, wrongRoute},
		{"https:", invalid, invalid},
		{"https://", invalid, invalid},
		{"https://:443", invalid, invalid},
		{"https:example.org", invalid, invalid},
		{"https://exa mple.org", invalid, invalid},
		{"https://example.org:port", invalid, invalid},
		{"https://example.org/%zz", invalid, invalid},
		{"https://example.org/\n", invalid, invalid},
		{" https://example.org", invalid, invalid},
	} {
		wantRefused(t, InstanceUpdate{SyslogDrainURL: &c.address}, c.address, "Syslog drain url ", c.drain)
		wantRefused(t, InstanceUpdate{RouteServiceURL: &c.address}, c.address, "Route service url ", c.route)
	}
}

func wantRefused(t *testing.T, u InstanceUpdate, address, noun, reason string) {
	t.Helper()
	switch err := u.checkUserProvided(); {
	case reason == "" && err != nil:
		t.Errorf("%q: %v; want no error", address, err)
	case reason != "" && (backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) != noun+reason):
		t.Errorf("%q: %v; want: %s", address, err, noun+reason)
	}
}

// TestEventsHideWhatIsProvided looks for a secret in all that an event says of an update, wherever a user put it.
func TestEventsHideWhatIsProvided(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	name, drain, route := "ledger", "https://u:"+secret+"@logs.example.org/"+secret+"?token="+secret, "https://gate.example.org/#"+secret
	u := InstanceUpdate{
		Update: Update{Name: &name}, Credentials: []byte(`{"` + secret + `": "` + secret + `"}`), SyslogDrainURL: &drain,
		RouteServiceURL: &route,
	}
	if err := u.checkUserProvided(); err != nil {
		t.Fatal(err)
	}
	told, err := json.Marshal(u.askedOfUserProvided())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"credentials":"[PRIVATE DATA HIDDEN]","name":"ledger","route_service_url":"https://gate.example.org","syslog_drain_url":"https://logs.example.org"}`
	if string(told) != want || strings.Contains(string(told), secret) {
		t.Errorf("the event tells %s\nwant %s", told, want)
	}
}
