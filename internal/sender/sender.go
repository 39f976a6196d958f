// Package sender tells where an HTTP request came from, also when a proxy that is trusted passed it on.
package sender

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Address returns the IP address that the request came from, or all that is known of it.
func Address(r *http.Request) string {
	if ip, ok := parse(r.RemoteAddr); ok {
		return ip.String()
	}
	return r.RemoteAddr
}

// Behind returns a handler in front of which stand proxies with addresses in trusted: a request that
// one of them passes on comes from whom it says in X-Forwarded-For. What others say there counts for
// nothing; anybody can write it.
func Behind(trusted []netip.Prefix, next http.Handler) http.Handler {
	if len(trusted) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ip, ok := parse(r.RemoteAddr); ok {
			passed := *r
			passed.RemoteAddr = net.JoinHostPort(origin(trusted, ip, r.Header.Values("X-Forwarded-For")).String(), "0")
			r = &passed
		}
		next.ServeHTTP(w, r)
	})
}

// origin follows the way back from ip for as long as it leads to proxies that are trusted. Each adds
// whom it heard at the end of the list.
func origin(trusted []netip.Prefix, ip netip.Addr, forwarded []string) netip.Addr {
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(ip) }) {
			return ip
		}
		before, ok := parse(strings.TrimSpace(hop))
		if !ok {
			return ip
		}
		ip = before
	}
	return ip
}

// parse reads an address with or without a port, IPv4 in IPv6 as IPv4.
func parse(text string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return ip.Unmap().WithZone(""), err == nil
}

// ParsePrefixes reads addresses and networks ("192.0.2.1", "10.0.0.0/8"), separated by commas.
func ParsePrefixes(text string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, part := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' }) {
		p, err := netip.ParsePrefix(part)
		if err != nil {
			ip, ipErr := netip.ParseAddr(part)
			if ipErr != nil {
				return nil, err
			}
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
