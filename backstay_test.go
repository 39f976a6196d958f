package backstay

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestBytes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		size Bytes
		back string // empty: as text
	}{
		{"0B", 0, ""}, {"12B", 12, ""}, {"1KB", KB, ""}, {"568MB", 568 * MB, ""}, {"5GB", 5 * GB, ""}, {"2TB", 2 * TB, ""},
		{"1024MB", GB, "1GB"}, {"20 gb", 20 * GB, "20GB"},
	} {
		size, err := ParseBytes(tc.text)
		if err != nil || size != tc.size {
			t.Errorf("%q is %d, %v; want %d", tc.text, size, err, tc.size)
		}
		if back := tc.back; back == "" && size.String() != tc.text || back != "" && size.String() != back {
			t.Errorf("%q comes back as %q", tc.text, size)
		}
	}
	for _, text := range []string{"", "5", "GB", "-1GB", "1.5GB", "5XB", "9000000000GB", "5GBGB"} {
		if size, err := ParseBytes(text); err == nil {
			t.Errorf("%q is taken for %s", text, size)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	f.Add("5GB")
	f.Add("9223372036854775807B")
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseBytes(text)
		if err != nil {
			return
		}
		if again, err := ParseBytes(size.String()); err != nil || again != size || size < 0 {
			t.Errorf("%q is %d, which comes back as %d, %v", text, size, again, err)
		}
	})
}

func TestKindsHaveNames(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds() {
		if KindFromString(k.String()) != k {
			t.Errorf("%s comes back as %s", k, KindFromString(k.String()))
		}
	}
	if KindFromString("nonsense") != Internal {
		t.Error("an unknown name is not Internal")
	}
}

func TestErrorsShowSentencesAndHideCauses(t *testing.T) {
	t.Parallel()
	cause := errors.New("dial tcp: connection refused")
	err := fmt.Errorf("bind: %w", Wrapf(cause, Unavailable, "The database does not answer."))
	if KindOf(err) != Unavailable || SentenceOf(err) != "The database does not answer." || !errors.Is(err, cause) ||
		!strings.Contains(err.Error(), "refused") {
		t.Errorf("%v: kind %s, sentence %q", err, KindOf(err), SentenceOf(err))
	}
	for _, hidden := range []error{cause, Errorf(Internal, "the secret is 42")} {
		if KindOf(hidden) != Internal || strings.Contains(SentenceOf(hidden), "42") ||
			strings.Contains(SentenceOf(hidden), "tcp") {
			t.Errorf("%v is shown as %q", hidden, SentenceOf(hidden))
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	s := Secret("hunter2")
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%+v", struct{ P Secret }{s})} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("a secret prints: %s", shown)
		}
	}
	if encoded, err := json.Marshal(s); err != nil || string(encoded) != `"hunter2"` || s.Reveal() != "hunter2" {
		t.Errorf("encoded as %s, %v", encoded, err)
	}
}
