package kubernetes

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

func TestReadService(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reads reading
		path  string
		want  string // JSON; empty: it is not there
	}{
		"inside":            {reading{Given: true}, "spec/type", `"ClusterIP"`},
		"inside, no policy": {reading{Given: true}, "spec/externalTrafficPolicy", ""},
		"whom it leads to": {reading{Given: true, Port: 30002}, "spec/selector",
			`{"backstay/reads":"yes","cnpg.io/cluster":"` + nameOf(anId) + `"}`},
		"a port": {reading{Given: true, Port: 30002}, "spec/ports",
			`[{"name":"postgres","nodePort":30002,"port":5432,"protocol":"TCP","targetPort":5432}]`},
		"a load balancer": {reading{Given: true, Host: "r.example.org"}, "spec/type", `"LoadBalancer"`},
		"its name": {reading{Given: true, Host: "r.example.org"},
			"metadata/annotations/external-dns.alpha.kubernetes.io~hostname", `"r.example.org"`},
	} {
		w := aWish(2)
		w.reads = tc.reads
		if got := fieldOf(w.readService(), tc.path); got != tc.want {
			t.Errorf("%s: %s is %s, want %s", name, tc.path, got, tc.want)
		}
	}
}

// TestReadAddress tells by which address an instance is read from that is reached so.
func TestReadAddress(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		exposure Exposure
		host     string
		port     int
		reads    reading
		want     string
	}{
		"nobody was given it": {Exposure{}, "", 0, reading{}, ":0"},
		"inside":              {Exposure{}, "", 0, reading{Given: true}, nameOf(anId) + "-reads.services.svc:5432"},
		"by a port": {Exposure{Host: "nodes.example.org"}, "", 30001, reading{Given: true, Port: 30002},
			"nodes.example.org:30002"},
		"by a load balancer": {Exposure{Domain: "example.org"}, nameOf(anId) + ".example.org", 0,
			reading{Given: true, Host: nameOf(anId) + "-reads.example.org"}, nameOf(anId) + "-reads.example.org:5432"},
	} {
		r := record{Spec: aWish(2).spec, Host: tc.host, Port: tc.port, Reads: tc.reads}
		c := Config{Namespace: "services", Exposure: tc.exposure}
		if got := c.reads(r); fmt.Sprintf("%s:%d", got.Host, got.Port) != tc.want {
			t.Errorf("%s: it is read from at %v, want %s", name, got, tc.want)
		}
		if tc.reads.Host != r.readHost() {
			t.Errorf("%s: its load balancer is %q, want %q", name, r.readHost(), tc.reads.Host)
		}
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	a := follower{name: "a", ready: true, followed: true, knows: true}
	but := func(change func(*follower)) follower {
		f := follower{name: "b", ready: true, followed: true, knows: true}
		change(&f)
		return f
	}
	late := but(func(f *follower) { f.late = true })
	for name, tc := range map[string]struct {
		primary   string
		followers []follower
		most      int
		to, shut  string
	}{
		"no standby":                {"p", nil, 1, "[p]", "[]"},
		"one":                       {"p", []follower{a}, 1, "[a]", "[]"},
		"two":                       {"p", []follower{a, but(func(*follower) {})}, 2, "[a b]", "[]"},
		"more than are to be":       {"p", []follower{a, but(func(*follower) {})}, 1, "[a]", "[]"},
		"one is late":               {"p", []follower{late, a}, 1, "[a]", "[b]"},
		"none is to be":             {"p", []follower{a}, 0, "[p]", "[a]"},
		"the only one is late":      {"p", []follower{late}, 1, "[p]", "[b]"},
		"it does not take any":      {"p", []follower{but(func(f *follower) { f.ready = false })}, 1, "[p]", "[b]"},
		"it has not followed":       {"p", []follower{but(func(f *follower) { f.followed = false })}, 1, "[p]", "[b]"},
		"it does not answer":        {"p", []follower{but(func(f *follower) { f.mute = true })}, 1, "[p]", "[b]"},
		"it knows who was dropped":  {"p", []follower{but(func(f *follower) { f.knows = false })}, 1, "[p]", "[b]"},
		"nobody serves":             {"", []follower{late}, 1, "[]", "[b]"},
		"the primary alone is away": {"", []follower{a}, 1, "[a]", "[]"},
	} {
		to, shut := route(tc.primary, tc.followers, tc.most)
		if fmt.Sprint(to) != tc.to || fmt.Sprint(shut) != tc.shut {
			t.Errorf("%s: reads go to %v, not to %v, want %s and %s", name, to, shut, tc.to, tc.shut)
		}
	}
}

// TestReadsAgain has an instance whose record is lost be read from where it was, if no other one is by now.
func TestReadsAgain(t *testing.T) {
	t.Parallel()
	c := Config{Namespace: "services", Exposure: Exposure{Host: "nodes.example.org", First: 30001, Last: 30009}}
	client, err := dynamic.NewForConfig(&rest.Config{}) // it is asked nothing
	if err != nil {
		t.Fatal(err)
	}
	c.Client = client
	b := New(c)
	other := b.instance("other")
	other.held, other.record = &unstructured.Unstructured{}, record{Port: 30003, Reads: reading{Given: true, Port: 30004}}
	for name, tc := range map[string]struct {
		served backstay.Endpoint
		host   string
		port   int
		want   reading
	}{
		"nobody read from it": {backstay.Endpoint{}, "", 30001, reading{}},
		"at a port":           {backstay.Endpoint{Host: "nodes.example.org", Port: 30002}, "", 30001, reading{Given: true, Port: 30002}},
		"another serves there": {
			backstay.Endpoint{Host: "nodes.example.org", Port: 30003}, "", 30001, reading{}},
		"another is read from there": {
			backstay.Endpoint{Host: "nodes.example.org", Port: 30004}, "", 30001, reading{}},
		"by a load balancer": {backstay.Endpoint{Host: "r", Port: 5432}, nameOf(anId) + ".example.org", 0,
			reading{Given: true, Host: nameOf(anId) + "-reads.example.org"}},
		"inside": {backstay.Endpoint{Host: "r", Port: 5432}, "", 0, reading{Given: true}},
	} {
		r := record{Spec: aWish(2).spec, Host: tc.host, Port: tc.port}
		r.Spec.Served = &backend.Served{Reads: tc.served}
		if got := b.readsAgain(r); got != tc.want {
			t.Errorf("%s: it is read from at %+v, want %+v", name, got, tc.want)
		}
	}
}
