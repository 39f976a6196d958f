package pki_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/pki"
	"github.com/backstay/backstay/pki/pkitest"
)

// openPair opens a pair for db.example.org that is valid for another month.
func openPair(t *testing.T, public *pkitest.Public, dir string) *pki.Pair {
	t.Helper()
	certificate, key := public.Issue(t, now.AddDate(0, 1, 0), "db.example.org").Write(t, dir)
	p, err := pki.OpenPair(certificate, key, "db.example.org", now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPairIsChecked(t *testing.T) {
	t.Parallel()
	public := pkitest.NewPublic(t)
	month := now.AddDate(0, 1, 0)
	good, other := public.Issue(t, month, "db.example.org"), public.Issue(t, month, "db.example.org")
	for name, tc := range map[string]struct {
		pair pkitest.Pair
		host string
		want string // in the sentence; empty: it is taken
	}{
		"good":              {good, "db.example.org", ""},
		"wildcard":          {public.Issue(t, month, "*.example.org"), "db.example.org", ""},
		"address":           {public.Issue(t, month, "10.1.2.3"), "10.1.2.3", ""},
		"any host":          {good, "", ""},
		"both in each file": {pkitest.Pair{Chain: good.Key + good.Chain, Key: good.Key + good.Chain}, "db.example.org", ""},
		"expired":           {public.Issue(t, now.Add(-time.Hour), "db.example.org"), "db.example.org", "has expired, on 2026-11-23"},
		"not valid yet":     {public.Issue(t, now.AddDate(1, 0, 0), "db.example.org"), "db.example.org", "is not valid before 2027-08-23"},
		"another name":      {good, "db.example.com", `is for ["db.example.org"], not for "db.example.com"`},
		"another key":       {pkitest.Pair{Chain: good.Chain, Key: other.Key}, "db.example.org", "are no pair"},
		"no certificate":    {pkitest.Pair{Chain: "hello", Key: good.Key}, "db.example.org", "are no pair"},
	} {
		certificate, key := tc.pair.Write(t, t.TempDir())
		p, err := pki.OpenPair(certificate, key, tc.host, now)
		if tc.want == "" && err != nil || tc.want != "" &&
			(backstay.KindOf(err) != backstay.Invalid || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if c, _ := p.Issue(nil, now); err == nil && strings.Contains(c.Leaf, "PRIVATE KEY-----") {
			t.Errorf("%s: a key is in the certificate", name)
		}
	}
	if _, err := pki.OpenPair("/absent", "/absent", "", now); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("absent files: %v", err)
	}
}

func TestPairIsReadWhenItIsRenewed(t *testing.T) {
	t.Parallel()
	public, dir := pkitest.NewPublic(t), t.TempDir()
	p := openPair(t, public, dir)
	before, _ := p.Issue([]string{"db.example.org"}, now)
	if before.Authority != "" || strings.Count(before.Leaf, "BEGIN CERTIFICATE") != 2 {
		t.Errorf("an authority is named, or the chain is cut: %+v", before)
	}
	refresh := func(wantChanged bool, want string) {
		t.Helper()
		changed, err := p.Refresh(now)
		if changed != wantChanged || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Fatalf("changed %t, %v; want %t, %q", changed, err, wantChanged, want)
		}
	}
	refresh(false, "")
	renewed := public.Issue(t, now.AddDate(0, 3, 0), "db.example.org")
	half := pkitest.Pair{Chain: renewed.Chain, Key: before.Key.Reveal()} // who renews has written one file yet
	half.Write(t, dir)
	refresh(false, "are no pair")
	refresh(false, "") // it is told once
	if c, due, err := p.Renew(before, nil, now); c != before || due || err != nil {
		t.Errorf("what was held is not held any more: %v, %v", due, err)
	}
	renewed.Write(t, dir)
	refresh(true, "")
	if c, due, err := p.Renew(before, nil, now); c == before || !due || err != nil {
		t.Errorf("an endpoint keeps what it has: %v, %v", due, err)
	}
	if want := now.AddDate(0, 3, 0); !p.Until().Equal(want) {
		t.Errorf("valid until %v, want %v", p.Until(), want)
	}
	if err := os.Remove(filepath.Join(dir, "tls.key")); err != nil {
		t.Fatal(err)
	}
	refresh(false, "no such file")
	public.Issue(t, now.AddDate(0, 3, 0), "db.example.com").Write(t, dir)
	refresh(false, "not for")
}

func TestAuthorityRenews(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	a := newAuthority(t)
	names := []string{"db", "127.0.0.1"}
	foreign, err := openPair(t, pkitest.NewPublic(t), t.TempDir()).Issue(names, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		has   backstay.Certificate
		names []string
		at    time.Duration
		due   bool
	}{
		"fresh":                     {issue(t, a, now, names...), names, 0, false},
		"fewer names":               {issue(t, a, now, names...), names[:1], 0, false},
		"another name":              {issue(t, a, now, names...), []string{"other", "127.0.0.1"}, 0, true},
		"two years":                 {issue(t, a, now, names...), names, 2*year - time.Hour, false},
		"more than two years":       {issue(t, a, now, names...), names, 2*year + time.Hour, true},
		"expired":                   {issue(t, a, now, names...), names, 4 * year, true},
		"the authority is near end": {issue(t, a, now.Add(19*year), names...), names, 19*year + 1000*time.Hour, false},
		"another authority's":       {issue(t, newAuthority(t), now, names...), names, 0, true},
		"the operator's":            {foreign, names, 0, true},
		"none":                      {backstay.Certificate{}, names, 0, true},
	} {
		next, due, err := a.Renew(tc.has, tc.names, now.Add(tc.at))
		if err != nil || due != tc.due || due == (next == tc.has) {
			t.Errorf("%s: due %t, %v; want %t", name, due, err, tc.due)
			continue
		}
		for _, n := range tc.names {
			if err := leaf(t, next).VerifyHostname(n); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if name == "another name" && leaf(t, next).VerifyHostname("db") != nil {
			t.Error("credentials that say the old name are refused")
		}
		if again, due, err := a.Renew(next, tc.names, now.Add(tc.at)); due || err != nil || again != next {
			t.Errorf("%s: it is renewed for ever (%v)", name, err)
		}
	}
}
