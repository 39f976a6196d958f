package market

import (
	"encoding/json"
	"testing"

	"github.com/backstay/backstay"
)

func TestEndpointIn(t *testing.T) {
	t.Parallel()
	want := backstay.Endpoint{Host: "db.example", Port: 5432}
	for name, c := range map[string]backstay.Credentials{
		"ours":            {"host": "db.example", "port": json.Number("5432"), "uri": "postgres://u:p@elsewhere:1/main"},
		"text":            {"hostname": "db.example", "port": "5432"},
		"only an address": {"uri": "postgres://u:p@db.example:5432/main"},
	} {
		if e, ok := endpointIn(c); !ok || e != want {
			t.Errorf("%s: %v, %t", name, e, ok)
		}
	}
	for name, c := range map[string]backstay.Credentials{
		"nothing": {}, "no port": {"host": "db.example"}, "no host": {"port": json.Number("5432")}, "bad port": {"host": "h", "port": "x"},
		"port " +
			"0": {"host": "h", "port": json.Number("0")}, "no address": {"uri": "://"}, "too high": {"host": "h", "port": json.Number("70000")},
	} {
		if e, ok := endpointIn(c); ok {
			t.Errorf("%s: %v", name, e)
		}
	}
}
