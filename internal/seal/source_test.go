package seal_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/seal"
)

func TestParseSource(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/etc/backstay/seal.key":               "/etc/backstay/seal.key",
		"credential:backstay":                  "credential:backstay",
		"command:/usr/bin/vault  read -k seal": "command:/usr/bin/vault read -k seal",
	} {
		s, err := seal.ParseSource(text)
		if err != nil || s.String() != want {
			t.Errorf("%q is read as %q (%v)", text, s, err)
		}
	}
	for _, text := range []string{"", "credential:", "credential:../x", "credential:..", "command:", "command: vault read"} {
		if s, err := seal.ParseSource(text); err == nil {
			t.Errorf("%q is read as %q", text, s)
		}
	}
}

// script is a program that a key comes from.
func script(t *testing.T, lines string) seal.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "unseal")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return seal.Source{Command: []string{path, "one", "two  words"}}
}

func TestKeyOfACommand(t *testing.T) {
	t.Parallel()
	s := script(t, `[ "$2" = "two  words" ] && [ $# = 2 ] && ! read -r x && echo `+strings.Repeat("0a", 32))
	if k, err := s.Load(t.Context()); err != nil || k[0] != 0x0a {
		t.Errorf("the key is not what the command said: %v", err)
	}
	for name, tc := range map[string]struct{ lines, want string }{
		"fails":            {"echo hidden; echo first >&2; echo the token is locked >&2; exit 3", "exit status 3): the token is locked"},
		"says nothing":     {"true", "64 hexadecimal digits"},
		"says too much":    {"yes " + strings.Repeat("0a", 32) + " | head -c 1000000", "64 hexadecimal digits"},
		"says another":     {"echo hidden", "64 hexadecimal digits"},
		"fails in silence": {"exit 1", "exit status 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := script(t, tc.lines).Load(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("error %v, want %q and no output", err, tc.want)
			}
		})
	}
	if _, err := (seal.Source{Command: []string{"/absent/program"}}).Load(t.Context()); err == nil {
		t.Error("a program that is not there gave a key")
	}
}

// TestACommandIsEnded gives up on one that hangs, with its children.
func TestACommandIsEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := script(t, "sleep 600 & sleep 600").Load(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > time.Minute {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
}

func TestKeyOfACredential(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	s := seal.Source{Credential: "backstay"}
	if _, err := s.Load(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a credential that is not there: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "backstay"), []byte(strings.Repeat("0b", 32)), 0o440); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Load(t.Context()); err != nil || k[31] != 0x0b {
		t.Errorf("the key is not the credential: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := s.Load(t.Context()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "CREDENTIALS_DIRECTORY") {
		t.Errorf("without systemd: %v", err)
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	before, after, ring := seal.New(), seal.New(), seal.NewRing()
	e := seal.Envelope{}
	e.Add(before, ring)
	e.Add(after, ring)
	read, err := seal.ParseEnvelope(e.Text())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []seal.Key{before, after} {
		if got, err := read.Open(k); err != nil || got != ring || !read.Has(k) {
			t.Errorf("the ring is another one (%v)", err)
		}
	}
	delete(read, before.Fingerprint())
	_, err = read.Open(before)
	if err == nil || !strings.Contains(err.Error(), "key "+after.Fingerprint()+" is wanted") {
		t.Errorf("the key before: %v", err)
	}
	for _, text := range []string{"", "\n", "abc", "abc zz\n", string(e.Text()) + "x\n"} {
		if _, err := seal.ParseEnvelope([]byte(text)); err == nil {
			t.Errorf("%q is read as an envelope", text)
		}
	}
	damaged, err := seal.ParseEnvelope([]byte(strings.ReplaceAll(string(e.Text()), " 01", " 0100")))
	if err == nil {
		if _, err = damaged.Open(before); err == nil {
			t.Error("a damaged envelope opens")
		}
	}
}
