package scram

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// The example of RFC 7677, section 3: a client that has the password proves it to who has the
// verifier, and the server that it has the verifier.
func TestScramVerifier(t *testing.T) {
	t.Parallel()
	const message = "n=user,r=rOprNGfwEbeRWgbNEkqO," +
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	proof := decode(t, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	signature := decode(t, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")

	verifier, err := verifierWith("pencil", decode(t, "W22ZaJ0SNY7soEsUEjb6gQ=="))
	keys, ok := strings.CutPrefix(verifier, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
	if err != nil || !ok {
		t.Fatalf("got %s, %v", verifier, err)
	}
	storedText, serverText, _ := strings.Cut(keys, ":")
	stored, server := decode(t, storedText), decode(t, serverText)

	clientKey := sign(stored, message)
	for i := range clientKey {
		clientKey[i] ^= proof[i]
	}
	if got := sha256.Sum256(clientKey); !bytes.Equal(got[:], stored) {
		t.Errorf("the client's proof is refused")
	}
	if !bytes.Equal(sign(server, message), signature) {
		t.Errorf("the server's signature is another")
	}
}

func sign(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestScramVerifierIsSalted(t *testing.T) {
	t.Parallel()
	a, err := Verifier("pencil")
	b, err2 := Verifier("pencil")
	if err != nil || err2 != nil || a == b {
		t.Errorf("got %s (%v) and %s (%v), want two that differ", a, err, b, err2)
	}
}

// What SASLprep would change is refused: the client would derive other keys than we.
func TestScramVerifierTakesASCIIOnly(t *testing.T) {
	t.Parallel()
	for _, p := range []backstay.Secret{"pässword", "a\nb", "a\x00b", "\x7f", "a\u00a0b"} {
		if v, err := Verifier(p); err == nil || strings.Contains(err.Error(), p.Reveal()) {
			t.Errorf("got %q, %v, want an error that does not tell the password", v, err)
		}
	}
}

// The example of RFC 7677, section 3, from the client's side.
func TestScramClient(t *testing.T) {
	t.Parallel()
	const answer = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	const proved = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	c := NewClient("user", "pencil")
	c.nonce = "rOprNGfwEbeRWgbNEkqO"
	if got, want := c.First(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"; got != want {
		t.Errorf("First: %q, want %q", got, want)
	}
	if err := c.Verify(proved); err == nil {
		t.Error("a server that was told nothing has proved something")
	}
	got, err := c.Final(answer)
	want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if got != want || err != nil {
		t.Errorf("Final: %q, %v", got, err)
	}
	if err := c.Verify(proved); err != nil {
		t.Errorf("Verify: %v", err)
	}
	for _, other := range []string{"", "e=invalid-proof", "v=", "v=7" + proved[3:], proved[2:]} {
		if c.Verify(other) == nil {
			t.Errorf("%q proves something", other)
		}
	}
	for name, other := range map[string]string{
		"nothing":                   "",
		"a nonce of nobody's":       strings.Replace(answer, "r=rO", "r=xx", 1),
		"nothing of the server's":   "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"no salt":                   strings.Replace(answer, "W22", "!!!", 1),
		"a key that costs too much": strings.Replace(answer, "4096", "99999999999", 1),
		"a key that is cheap":       strings.Replace(answer, "4096", "1", 1),
	} {
		if final, err := c.Final(other); err == nil {
			t.Errorf("%s is answered with %q", name, final)
		}
	}
}
