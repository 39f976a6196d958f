package kubernetes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestReadingObjects(t *testing.T) {
	t.Parallel()
	two := []reached{{"bs-1-3", "10.0.0.3"}, {"bs-1-2", "10.0.0.2"}}
	for name, tc := range map[string]struct {
		reading reading
		object  func(wish, reading) *unstructured.Unstructured
		path    string
		want    string // JSON; empty: it is not there
	}{
		"inside":            {reading{}, wish.readers, "spec/type", `"ClusterIP"`},
		"inside, no policy": {reading{}, wish.readers, "spec/externalTrafficPolicy", ""},
		"selects nobody":    {reading{port: 30002}, wish.readers, "spec/selector", ""},
		"a port": {reading{port: 30002}, wish.readers, "spec/ports",
			`[{"name":"postgres","nodePort":30002,"port":5432,"protocol":"TCP","targetPort":5432}]`},
		"a load balancer": {reading{host: "r.example.org"}, wish.readers, "spec/type", `"LoadBalancer"`},
		"its name": {reading{host: "r.example.org"}, wish.readers,
			"metadata/annotations/external-dns.alpha.kubernetes.io~hostname", `"r.example.org"`},
		"of the service": {reading{to: two}, wish.slice, "metadata/labels/kubernetes.io~service-name",
			`"` + nameOf(anId) + `-reads"`},
		"nobody's else": {reading{to: two}, wish.slice, "metadata/labels/endpointslice.kubernetes.io~managed-by",
			`"` + manager + `"`},
		"kind":          {reading{to: two}, wish.slice, "addressType", `"IPv4"`},
		"the other one": {reading{to: []reached{{"bs-1-2", "fd00::2"}}}, wish.slice, "addressType", `"IPv6"`},
		"nobody":        {reading{}, wish.slice, "endpoints", `[]`},
		"in order": {reading{to: two}, wish.slice, "endpoints", `[` +
			`{"addresses":["10.0.0.2"],"conditions":{"ready":true},` +
			`"targetRef":{"kind":"Pod","name":"bs-1-2","namespace":"services"}},` +
			`{"addresses":["10.0.0.3"],"conditions":{"ready":true},` +
			`"targetRef":{"kind":"Pod","name":"bs-1-3","namespace":"services"}}]`},
	} {
		o, got := tc.object(aWish(2), tc.reading), ""
		path := strings.Split(tc.path, "/")
		for i := range path {
			path[i] = strings.ReplaceAll(path[i], "~", "/")
		}
		if v, ok, err := unstructured.NestedFieldNoCopy(o.Object, path...); err == nil && ok {
			text, _ := json.Marshal(v)
			got = string(text)
		}
		if got != tc.want {
			t.Errorf("%s: %s is %s, want %s", name, tc.path, got, tc.want)
		}
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	primary := reached{"p", "1"}
	a := follower{reached: reached{"a", "2"}, ready: true, followed: true, knows: true}
	but := func(change func(*follower)) follower {
		f := follower{reached: reached{"b", "3"}, ready: true, followed: true, knows: true}
		change(&f)
		return f
	}
	late := but(func(f *follower) { f.late = true })
	for name, tc := range map[string]struct {
		primary   reached
		followers []follower
		to, shut  string
	}{
		"no standby":                {primary, nil, "[{p 1}]", "[]"},
		"one":                       {primary, []follower{a}, "[{a 2}]", "[]"},
		"two":                       {primary, []follower{a, but(func(*follower) {})}, "[{a 2} {b 3}]", "[]"},
		"one is late":               {primary, []follower{a, late}, "[{a 2}]", "[b]"},
		"the only one is late":      {primary, []follower{late}, "[{p 1}]", "[b]"},
		"it does not take any":      {primary, []follower{but(func(f *follower) { f.ready = false })}, "[{p 1}]", "[b]"},
		"it has not followed":       {primary, []follower{but(func(f *follower) { f.followed = false })}, "[{p 1}]", "[b]"},
		"it does not answer":        {primary, []follower{but(func(f *follower) { f.mute = true })}, "[{p 1}]", "[b]"},
		"it knows who was dropped":  {primary, []follower{but(func(f *follower) { f.knows = false })}, "[{p 1}]", "[b]"},
		"nobody serves":             {reached{}, []follower{late}, "[]", "[b]"},
		"the primary alone is away": {reached{}, []follower{a}, "[{a 2}]", "[]"},
	} {
		to, shut := route(tc.primary, tc.followers)
		if fmt.Sprint(to) != tc.to || fmt.Sprint(shut) != tc.shut {
			t.Errorf("%s: reads go to %v, not to %v, want %s and %s", name, to, shut, tc.to, tc.shut)
		}
	}
}
