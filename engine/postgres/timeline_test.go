package postgres

import "testing"

func TestDescends(t *testing.T) {
	t.Parallel()
	history := []byte("1\t0/7000098\tno recovery target specified\n\n2\t1/A0000D8\tafter a failover\n")
	for _, c := range []struct {
		from, place string
		want        bool
	}{
		{"00000001", "0/7000098", true}, {"00000001", "0/6FFFFFF", true}, {"00000001", "0/7000099", false},
		{"00000002", "1/A0000D8", true}, {"00000002", "1/A0000D9", false}, {"00000003", "0/1", false},
	} {
		place, err := parsePosition(c.place)
		if err != nil {
			t.Fatal(err)
		}
		if got := descends(history, c.from, place); got != c.want {
			t.Errorf("a timeline that left %s, and a backup until %s: %t", c.from, c.place, got)
		}
	}
}
