package front

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	headerLimit = 10 * time.Second
	// idleLimit is how long clients may keep connections that they do not use: longer than their pools do.
	idleLimit = 10 * time.Minute
)

// server passes requests on.
type server struct {
	http.Server
	places *places
	logins *logins
	proxy  *httputil.ReverseProxy
}

type placeKey struct{}

// statusKey is of where the status goes with which OpenSearch answers a request; it is 0 as long as it does not.
type statusKey struct{}

func newServer(path string, c Config, up *upstream) *server {
	quiet := log.New(io.Discard, "", 0) // it would quote what clients say
	s := &server{places: &places{path: path, most: c.Connections}, logins: newLogins(time.Now)}
	s.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", c.Name
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			DialTLSContext: up.secure, DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		},
		FlushInterval: -1, ModifyResponse: settle, ErrorHandler: unavailable, ErrorLog: quiet,
	}
	s.Server = http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit, ErrorLog: quiet,
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(path) },
			// What clients keep to come back with would outlive the certificate.
			SessionTicketsDisabled: true,
		},
		// Requests of HTTP/2 would all be on one connection.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, placeKey{}, conn.(*tls.Conn).NetConn())
		},
	}
	return s
}

// serve passes a request on, if its connection is one of those that the plan has, or may be.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if administers(r.URL.Path) {
		answer(w, http.StatusForbidden, "security_exception", "Users and their rights are made by bindings alone.")
		return
	}
	c := placeOf(r)
	if most, full := c.full(); full {
		refuseUser(w, most)
		return
	}
	if refused := amend(r); refused != nil {
		answer(w, refused.status, refused.kind, refused.reason)
		return
	}
	login, refused := s.logins.begin(addressOf(r), r.Header.Get("Authorization"))
	if refused != 0 {
		refuseLogin(w, refused)
		return
	}
	if login.known && !c.enter() {
		most, _ := c.full()
		refuseUser(w, most)
		return
	}
	status := new(int)
	defer func() { login.end(*status) }() // also where the client goes in the middle of the answer, which is a panic
	s.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), statusKey{}, status)))
}

func placeOf(r *http.Request) *place { return r.Context().Value(placeKey{}).(*place) }

func refuseUser(w http.ResponseWriter, most int) {
	w.Header().Set("Connection", "close")
	answer(w, http.StatusServiceUnavailable, "too_many_connections",
		fmt.Sprintf("All %d connections of the service instance are in use.", most))
}

// refuseLogin answers in the place of OpenSearch.
func refuseLogin(w http.ResponseWriter, status int) {
	w.Header().Set("Connection", "close")
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="OpenSearch Security"`)
		answer(w, status, "security_exception", "There is no such user, or it has another password.")
		return
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(tryPause.Seconds())))
	answer(w, status, "too_many_logins", "Too many logins from this address have failed.")
}

// addressOf is where a request comes from.
func addressOf(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // which all share of whom it is not known
	}
	return from.Addr().Unmap()
}

// administers tells whether a request is for the security plugin, in which users could change their own passwords.
func administers(path string) bool {
	parts := slices.DeleteFunc(strings.Split(path, "/"), func(part string) bool { return part == "" })
	return len(parts) > 1 && (parts[0] == "_plugins" || parts[0] == "_opendistro") && parts[1] == "_security"
}

// settle gives the connection the place of a user, of whom OpenSearch has said by its answer that it knows it. It ends
// that of who has not logged in, and of users for whom there is no place any more.
func settle(r *http.Response) error {
	*r.Request.Context().Value(statusKey{}).(*int) = r.StatusCode
	switch {
	case r.StatusCode >= http.StatusInternalServerError: // which says nothing of who asks
	case r.StatusCode == http.StatusUnauthorized, !placeOf(r.Request).enter():
		r.Header.Set("Connection", "close")
	}
	return nil
}

func unavailable(w http.ResponseWriter, _ *http.Request, _ error) {
	answer(w, http.StatusServiceUnavailable, "unavailable", "OpenSearch does not answer.")
}

// answer writes an error as OpenSearch does.
func answer(w http.ResponseWriter, status int, kind, reason string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	said := map[string]any{"type": kind, "reason": reason}
	said["root_cause"] = []any{map[string]any{"type": kind, "reason": reason}} // of which official clients tell
	json.NewEncoder(w).Encode(map[string]any{"error": said, "status": status}) // a client that is gone needs no answer
}
