package redis

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, line, said string
		ok               bool
	}{
		{"port taken", "4711:M 23 Nov 2026 17:00:00.123 # Failed listening on port 20000 (tls), aborting.",
			"Failed listening on port 20000 (tls), aborting", true},
		{"cause of that",
			"4711:M 23 Nov 2026 17:00:00.123 # Warning: Could not create server TCP listening socket 127.0.0.1:20000: bind: Address already in use", "Warning: Could not create server TCP listening socket 127.0.0.1:20000: bind: Address already in use", true},
		{"broken data", "4711:M 23 Nov 2026 17:00:00.123 # Bad file format reading the append only file",
			"Bad file format reading the append only file", true},
		{"bad configuration", "Bad directive or wrong number of arguments",
			"Bad directive or wrong number of arguments", true},
		{"serves", "4711:M 23 Nov 2026 17:00:00.123 * Ready to accept connections", "", true},
		{"told to stop", "4711:M 23 Nov 2026 17:00:00.123 # Redis is now ready to exit, bye bye...", "", true},
		{"primary away", "4711:S 28 Nov 2026 08:36:00.123 # Error condition on socket for SYNC: Connection refused", "", false},
		{"greeting", "4711:C 23 Nov 2026 17:00:00.123 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo", "", false},
		{"advice", "4711:M 23 Nov 2026 17:00:00.123 # WARNING Memory overcommit must be enabled!", "", false},
		{"nothing", "", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			said, ok := verdict(tc.line)
			if ok != tc.ok || ok && said != tc.said {
				t.Errorf("%q, %t; want %q, %t", said, ok, tc.said, tc.ok)
			}
		})
	}
}

// FuzzQuote reads back what is quoted, by the rules of redis.conf (sdssplitargs).
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "a b", `a"b`, `a\b`, `a\"b`, "a'b", "#", "\n", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		quoted, err := quote(value)
		if err != nil {
			if !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q: %v", value, err)
			}
			return
		}
		inner, ok := strings.CutPrefix(quoted, `"`)
		inner, ok2 := strings.CutSuffix(inner, `"`)
		if !ok || !ok2 {
			t.Fatalf("%q is quoted as %s", value, quoted)
		}
		var back strings.Builder
		for i := 0; i < len(inner); i++ {
			switch {
			case inner[i] == '\\' && i+1 < len(inner):
				i++
				back.WriteByte(inner[i])
			case inner[i] == '"':
				t.Fatalf("%q ends early as %s", value, quoted)
			default:
				back.WriteByte(inner[i])
			}
		}
		if back.String() != value {
			t.Errorf("%q comes back as %q", value, back.String())
		}
	})
}

// TestSnapshotOfAServerThatRefuses ends with its reason.
func TestSnapshotOfAServerThatRefuses(t *testing.T) {
	t.Parallel()
	n := engine.Node{Admin: engine.Admin{Dial: func(context.Context) (net.Conn, error) {
		ours, server := net.Pipe()
		go func() {
			bufio.NewReader(server).ReadString('\n')
			server.Write([]byte("-WRONGPASS invalid username-password pair\r\n"))
			io.Copy(io.Discard, server)
		}()
		return ours, nil
	}}}
	f, err := follow(t.Context(), n, &redis.Options{Username: "admin", Password: "wrong"})
	if f != nil || err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("follow: %v, %v", f, err)
	}
}
