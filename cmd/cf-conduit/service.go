package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
)

// service is a service instance with credentials to it, as the API gave them.
type service struct {
	name, label, plan string
	tags              []string
	shared            bool // with the space that it was looked up in, by its own
	instance          backstay.InstanceID
	binding           backstay.BindingID
	Credentials       backstay.Credentials // exported so that fmt finds the methods that redact it
	port              int                  // on this machine
}

// loopback is where programs find services.
const loopback = "127.0.0.1"

// kinds are what clients tell services apart by, with what the schemes of their addresses, their labels
// and tags say for it.
var kinds = map[string][]string{
	"postgres":      {"postgres", "postgresql"},
	"mysql":         {"mysql", "mysql2", "mariadb"},
	"redis":         {"redis", "rediss", "valkey"},
	"mongodb":       {"mongodb", "mongo"},
	"elasticsearch": {"elasticsearch", "opensearch"},
}

// kind is the service's, "" for one that no client of ours is for.
func (s *service) kind() string {
	says := append([]string{s.scheme(), s.label}, s.tags...)
	for _, word := range says {
		for kind, words := range kinds {
			if slices.Contains(words, strings.ToLower(word)) {
				return kind
			}
		}
	}
	return ""
}

func (s *service) text(key string) string {
	switch v := s.Credentials[key].(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

func (s *service) uri() *url.URL {
	u, err := url.Parse(s.text("uri"))
	if err != nil {
		return &url.URL{}
	}
	return u
}

func (s *service) scheme() string { return s.uri().Scheme }

// address is the endpoint that the credentials name.
func (s *service) address() (host, port string, err error) {
	host, port = s.text("host"), s.text("port")
	if host == "" {
		host = s.text("hostname")
	}
	if host == "" || port == "" {
		host, port = s.uri().Hostname(), s.uri().Port()
	}
	if host == "" || port == "" {
		return "", "", fmt.Errorf("%s service is missing host, hostname or port", s.name)
	}
	return host, port, nil
}

// tlsOnly tells whether clients speak TLS from their first byte on.
func (s *service) tlsOnly() bool {
	enabled, _ := s.Credentials["tls_enabled"].(bool)
	return enabled || slices.Contains([]string{"rediss", "https", "amqps"}, s.scheme())
}

// authority is the certificate authority that the service is verified by, as PEM; "" if the credentials
// name none.
func (s *service) authority() string {
	if pem := s.text("ca_certificate"); pem != "" {
		return pem
	}
	pem, _ := base64.StdEncoding.DecodeString(s.text("ca_certificate_base64"))
	return string(pem)
}

// tunnelled are the credentials with the local address in the place of the service's own.
func (s *service) tunnelled() backstay.Credentials {
	host, port, err := s.address()
	if err != nil {
		return s.Credentials
	}
	return s.moved(map[string]any(s.Credentials), host, port).(map[string]any)
}

func (s *service) moved(v any, host, port string) any {
	switch v := v.(type) {
	case map[string]any:
		moved := make(map[string]any, len(v))
		for key, value := range v {
			moved[key] = s.moved(value, host, port)
			if key == "port" {
				moved[key] = s.movedPort(value, port)
			}
		}
		return moved
	case []any:
		moved := make([]any, len(v))
		for i, value := range v {
			moved[i] = s.moved(value, host, port)
		}
		return moved
	case string:
		if v == host {
			return loopback
		}
		return replaceAddress(v, net.JoinHostPort(host, port), net.JoinHostPort(loopback, strconv.Itoa(s.port)))
	}
	return v
}

func (s *service) movedPort(v any, port string) any {
	switch v := v.(type) {
	case float64:
		if strconv.FormatFloat(v, 'f', -1, 64) == port {
			return s.port
		}
	case string:
		if v == port {
			return strconv.Itoa(s.port)
		}
	}
	return v
}

// replaceAddress replaces an address in text, where it stands alone: in db:5432, and not in other-db:5432
// or db:54321.
func replaceAddress(text, old, new string) string {
	var b strings.Builder
	for {
		i := strings.Index(text, old)
		if i < 0 {
			return b.String() + text
		}
		end := i + len(old)
		alone := (i == 0 || !isHostByte(text[i-1])) && (end == len(text) || text[end] < '0' || text[end] > '9')
		b.WriteString(text[:i])
		if alone {
			b.WriteString(new)
		} else {
			b.WriteString(old)
		}
		text = text[end:]
	}
}

func isHostByte(c byte) bool {
	return c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// describe is what somebody needs to connect by hand; file is where the authority's certificate lies.
func (s *service) describe(file string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "* service: %s (%s)\n", s.name, s.label)
	c := s.tunnelled()
	for _, key := range slices.Sorted(maps.Keys(c)) {
		value := c[key]
		if key == "ca_certificate" || key == "ca_certificate_base64" {
			value = file
		}
		fmt.Fprintf(&b, "  %s: %v\n", key, value)
	}
	return b.String()
}
