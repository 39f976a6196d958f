package enginetest

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// testTuning has a node take every setting that the engine lets users choose, at each end of its range, and return to
// what it had. Clients notice nothing, and are told of a restart only for settings that say so.
func testTuning(t *testing.T, s Subject) {
	tunable, ok := s.Engine.(engine.Tunable)
	if !ok {
		t.Skip("this engine lets nobody choose its settings")
	}
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	tuning := tunable.Tuning(n.Installation)
	s.session(t, s.createUser(t, n, newUser()), func(c Session) {
		mustSet(t, c, "k", "v")
		for round := range rounds(tuning, n.Size.Memory) {
			chosen, restarts := choose(tuning, n.Size.Memory, round)
			tuned := n
			tuned.Settings = encodeSettings(t, chosen)
			mustCheck(t, s, tuned)
			if restart := mustReload(t, s, tuned); restart && !restarts {
				t.Errorf("%s needs a restart", tuned.Settings)
			}
			wantValue(t, c, "k", "v")
		}
		mustReload(t, s, n)
		wantValue(t, c, "k", "v")
	})
	for name, value := range map[string]string{
		"no_such_setting": "1", tuning[0].Name: `{"a": 1}`, tuning[1].Name: "null",
	} {
		wrong := n
		wrong.Settings = encodeSettings(t, map[string]json.RawMessage{name: json.RawMessage(value)})
		if err := s.Engine.Check(t.Context(), wrong); backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("%s: %v, want it to be invalid", wrong.Settings, err)
		}
	}
}

// choose returns a value of every setting, another one in each round, and whether one of them takes a restart.
func choose(
	tuning engine.Tuning, memory backstay.Bytes, round int,
) (chosen map[string]json.RawMessage, restarts bool) {
	chosen = map[string]json.RawMessage{}
	for _, setting := range tuning {
		values := valuesOf(setting, memory)
		chosen[setting.Name] = json.RawMessage(values[round%len(values)])
		restarts = restarts || setting.Restart
	}
	return chosen, restarts
}

func rounds(tuning engine.Tuning, memory backstay.Bytes) (most int) {
	for _, setting := range tuning {
		most = max(most, len(valuesOf(setting, memory)))
	}
	return most
}

// valuesOf returns values that a setting takes, as JSON: the ends of its range.
func valuesOf(s engine.Setting, memory backstay.Bytes) []string {
	switch s.Of {
	case engine.Switch:
		return []string{"true", "false", `"on"`, `"off"`}
	case engine.Number, engine.Ratio:
		return []string{strconv.FormatInt(s.Least, 10), strconv.FormatInt(s.Most, 10)}
	case engine.Memory:
		most := s.Most
		if s.Part > 0 {
			most = min(most, int64(memory)/int64(s.Part))
		}
		return []string{inKilobytes(s.Least), inKilobytes(most)}
	case engine.Span:
		least, most := strconv.FormatInt(s.Least, 10)+"ms", strconv.FormatInt(s.Most/1000, 10)+"s"
		return []string{strconv.Quote(least), strconv.Quote(most)}
	case engine.Choice:
		quoted := make([]string, len(s.Values))
		for i, value := range s.Values {
			quoted[i] = strconv.Quote(value)
		}
		return quoted
	}
	return []string{strconv.Quote(s.Example)}
}

func inKilobytes(size int64) string { return strconv.Quote(strconv.FormatInt(size>>10, 10) + "kB") }

func encodeSettings(t *testing.T, chosen map[string]json.RawMessage) json.RawMessage {
	t.Helper()
	encoded, err := json.Marshal(map[string]any{"settings": chosen})
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func mustReload(t *testing.T, s Subject, n engine.Node) (restart bool) {
	t.Helper()
	restart, err := s.Engine.(engine.Reloader).Reload(t.Context(), n)
	if err != nil {
		t.Fatalf("Reload with %s: %v", n.Settings, err)
	}
	return restart
}
