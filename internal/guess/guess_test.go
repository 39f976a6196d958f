package guess

import (
	"net/netip"
	"testing"
	"time"
)

func TestLockedUntil(t *testing.T) {
	t.Parallel()
	last := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		count int
		wait  time.Duration
	}{
		{5, time.Second}, {6, 2 * time.Second}, {9, 16 * time.Second}, {13, 256 * time.Second}, {14, 5 * time.Minute},
		{1 << 30, 5 * time.Minute},
	} {
		if got := lockedUntil(Failures{Count: tc.count, Last: last}, 5).Sub(last); got != tc.wait {
			t.Errorf("%d failures: %v, want %v", tc.count, got, tc.wait)
		}
	}
	for count := range 5 {
		if got := lockedUntil(Failures{Count: count, Last: last}, 5); !got.IsZero() {
			t.Errorf("%d failures: locked until %v", count, got)
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8::1:2": "2001:db8::/64",
		"2001:db8::1:3": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Network(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("%s is of %s, want %s", address, got, want)
		}
	}
	if got := Network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("what is no address is of %s", got)
	}
}
