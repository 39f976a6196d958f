package process

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestExecutable(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if path := Self(); path != self {
		t.Errorf("this program is run again by %s, want %s", path, self)
	}
	want, err := exec.Command("go", "tool", "buildid", self).Output()
	if err != nil {
		t.Fatal(err)
	}
	id, err := Executable()
	if again, errAgain := Executable(); err != nil || errAgain != nil || id == "" || id != again {
		t.Errorf("%q, %v and then %q, %v; want the same", id, err, again, errAgain)
	}
	if want := strings.TrimSpace(string(want)); id != want {
		t.Errorf("it is %q, and Go says %q", id, want)
	}
}

// What has no build ID, or is no program at all, has none found in it.
func TestBuildIDOfOthers(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"no program": "#!/bin/sh\n", "nothing": "", "cut off": "\x7fELF\x02\x01\x01"} {
		if id := buildID(strings.NewReader(content)); id != "" {
			t.Errorf("%s has the build ID %q", name, id)
		}
	}
	shell, err := os.Open("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	defer shell.Close()
	if id := buildID(shell); id != "" {
		t.Errorf("a program that Go did not make has the build ID %q", id)
	}
}
