package opensearch_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/backstay/backstay/engine"
)

// TestStrangersTakeNoPlaces has more come than there are connections, who say nothing, or begin a request without a
// login or with one that nobody has: who has a password comes in all the same, and stays.
func TestStrangersTakeNoPlaces(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	if _, err := writer.ask(t.Context(), http.MethodGet, "/", ""); err != nil {
		t.Fatal(err)
	}
	const begun = "POST /keys/_bulk HTTP/1.1\r\nHost: localhost\r\n%sContent-Type: application/json\r\n" +
		"Content-Length: 1000000\r\n\r\n{"
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(n.Endpoint.Port))
	for i := range n.Size.Connections + 200 {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { conn.Close() })
		says := []string{"", fmt.Sprintf(begun, "")}[i%2]
		if i%20 == 0 { // not so many that all others from here have to wait
			says = fmt.Sprintf(begun, "Authorization: Basic bm86Ym9keQ==\r\n")
		}
		if _, err := io.WriteString(conn, says); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u2", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	for range n.Size.Connections - 1 {
		another, err := connect(t.Context(), c)
		if err != nil {
			t.Fatalf("a user does not come in: %v", err)
		}
		t.Cleanup(func() { another.Close() })
	}
	if _, err := writer.ask(t.Context(), http.MethodGet, "/", ""); err != nil {
		t.Errorf("a user that was in: %v", err)
	}
}
