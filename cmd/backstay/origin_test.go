package main

import (
	"flag"
	"testing"
)

// TestOriginFlags has an empty time go to the broker, which refuses it, instead of meaning the newest data.
func TestOriginFlags(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		want string // empty: refused
	}{
		{nil, `{"clone_of":"g"}`},
		{[]string{"--snapshot"}, `{"restore_from_latest_snapshot_of":"g"}`},
		{[]string{"--at", "then"}, `{"restore_from_point_in_time_before":"then","restore_from_point_in_time_of":"g"}`},
		{[]string{"--at", ""}, `{"restore_from_point_in_time_before":"","restore_from_point_in_time_of":"g"}`},
		{[]string{"--snapshot-before="},
			`{"restore_from_latest_snapshot_before":"","restore_from_latest_snapshot_of":"g"}`},
		{[]string{"--at", "", "--snapshot"}, ""},
		{[]string{"--at", "then", "--snapshot-before", "then"}, ""},
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
