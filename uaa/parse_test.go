package uaa

import (
	"strings"
	"testing"
)

func FuzzBearer(f *testing.F) {
	for _, header := range []string{"bearer a.b.c", "Bearer  a", "bearer", "", " ", "basic a", "bearer a b", "\x00 \xff"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, ok := bearer(header)
		if !ok {
			return
		}
		if token == "" || len(token) > maxToken || strings.TrimSpace(token) != token ||
			!strings.HasSuffix(strings.TrimSpace(header), token) {
			t.Errorf("%q has the token %q", header, token)
		}
		if again, ok := bearer("bearer " + token); !ok || again != token {
			t.Errorf("%q became %q", token, again)
		}
	})
}

func FuzzPasswordHash(f *testing.F) {
	f.Add(newPasswordHash("hunter2").String())
	for _, text := range []string{
		"", "$argon2id$v=19$m=19456,t=2,p=1$$", "$argon2i$v=19$m=1,t=1,p=1$AAAA$AAAA", "$argon2id$v=16$m=1,t=1,p=1$AAAA$AAAA",
		"$argon2id$v=19$m=4294967295,t=0,p=0$AAAA$AAAA", "$argon2id$v=19$m=-1,t=1,p=256$$$", "$2b$12$abc",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parsePasswordHash(text)
		if err != nil {
			return
		}
		if again, err := parsePasswordHash(h.String()); err != nil || again.String() != h.String() {
			t.Errorf("%q became %q (%v)", h, again, err)
		}
		if h.memory <= 1<<12 && h.time <= 2 {
			h.matches("hunter2") // does not panic
		}
	})
}
