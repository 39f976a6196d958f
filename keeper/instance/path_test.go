package instance

import "testing"

func TestWithoutPaths(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ said, want string }{
		{`could not create lock file "/var/lib/b/run/20001/.s.PGSQL.20001.lock": No space left on device`,
			`could not create lock file ".s.PGSQL.20001.lock": No space left on device`},
		{"Can't open file '/data/instances/1/data/ibdata1'.", "Can't open file 'ibdata1'."},
		{"Bad directive in /etc/redis/redis.conf, line 3 (/usr/bin/redis-server)",
			"Bad directive in redis.conf, line 3 (redis-server)"},
		{"/a/b/ is full", "b is full"},
		{"The data directory instances/1 is missing", "The data directory instances/1 is missing"},
		{"See https://example.org/a/b or /tmp", "See https://example.org/a/b or /tmp"},
		{"read and/or write", "read and/or write"},
	} {
		if got := WithoutPaths(tc.said); got != tc.want {
			t.Errorf("%q became %q, want %q", tc.said, got, tc.want)
		}
	}
}
