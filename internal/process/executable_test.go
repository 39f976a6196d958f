package process

import (
	"os"
	"testing"
)

func TestExecutable(t *testing.T) {
	t.Parallel()
	first, err := Executable()
	again, errAgain := Executable()
	if err != nil || errAgain != nil || len(first) != 64 || first != again {
		t.Errorf("%q, %v and then %q, %v; want the same 64 digits", first, err, again, errAgain)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if path := Self(); path != self {
		t.Errorf("this program is run again by %s, want %s", path, self)
	}
}
