package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

// TestOriginFlags has an empty time go to the broker, which refuses it, instead of meaning the newest data.
func TestOriginFlags(t *testing.T) {
	t.Parallel()
	const then = "2026-11-01 12:00:05"
	for _, tc := range []struct {
		args []string
		want string // empty: refused
	}{
		{nil, `{"clone_of":"g"}`},
		{[]string{"--snapshot"}, `{"restore_from_latest_snapshot_of":"g"}`},
		{[]string{"--at", then},
			`{"restore_from_point_in_time_before":"2026-11-01 12:00:05","restore_from_point_in_time_of":"g"}`},
		{[]string{"--at", ""}, `{"restore_from_point_in_time_before":"","restore_from_point_in_time_of":"g"}`},
		{[]string{"--snapshot-before="},
			`{"restore_from_latest_snapshot_before":"","restore_from_latest_snapshot_of":"g"}`},
		{[]string{"--at", "", "--snapshot"}, ""},
		{[]string{"--at", then, "--snapshot-before", then}, ""},
	} {
		fs := flag.NewFlagSet("copy", flag.ContinueOnError)
		f := addOrigin(fs)
		if err := fs.Parse(tc.args); err != nil {
			t.Fatal(err)
		}
		if got, err := f.parameters("g", cloneOf); string(got) != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q: %s, %v; want %s", tc.args, got, err, tc.want)
		}
	}
}

// TestTimesAreRead: whoever gives a time that is none, is told what would be one.
func TestTimesAreRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"copy", "i", "--to", "o/s", "--as", "n", "--at", "yesterday"}, "backstay help copy"},
		{[]string{"restore", "i", "--as", "n", "--snapshot-before", "2026-11-01 12:00:05.5"}, "backstay help restore"},
	} {
		var text strings.Builder
		code := (&cli{stderr: &text, env: os.Getenv}).run(t.Context(), tc.args)
		if said := text.String(); code != 2 || !strings.Contains(said, "to the second, such as 2018-04-01 00:00:00.") ||
			!strings.Contains(said, "Type: "+tc.want+"\n") {
			t.Errorf("%q ends with %d: %s", tc.args, code, said)
		}
	}
}
