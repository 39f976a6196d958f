package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
)

// Source is where a key comes from. Exactly one of its fields is set, unless it is the zero Source, which is nowhere.
type Source struct {
	File       string   // the absolute path of a file
	Credential string   // the name of a credential of systemd, a file in $CREDENTIALS_DIRECTORY
	Command    []string // a program and its arguments, whose standard output is the key
}

// The words that a Source which is no file begins with.
const (
	credentialPrefix = "credential:"
	commandPrefix    = "command:"
)

// commandPatience is how long a command may take: a key server that answers answers sooner.
const commandPatience = 30 * time.Second

// ParseSource reads FILE, credential:NAME or command:PROGRAM ARGUMENT…, whose words are divided by spaces: no shell
// reads them. Its error goes on with a sentence that has begun with the text.
func ParseSource(text string) (s Source, err error) {
	if name, ok := strings.CutPrefix(text, credentialPrefix); ok {
		if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
			return s, errors.New("does not name a credential, as in credential:backstay")
		}
		return Source{Credential: name}, nil
	}
	if line, ok := strings.CutPrefix(text, commandPrefix); ok {
		words := strings.Fields(line)
		if len(words) == 0 || !filepath.IsAbs(words[0]) {
			return s, errors.New("does not name a program by its whole path, as in command:/usr/local/bin/unseal backstay")
		}
		return Source{Command: words}, nil
	}
	if text == "" {
		return s, errors.New("must not be empty")
	}
	s.File, err = filepath.Abs(text)
	return s, err
}

// String is what ParseSource reads.
func (s Source) String() string {
	switch {
	case s.Credential != "":
		return credentialPrefix + s.Credential
	case len(s.Command) > 0:
		return commandPrefix + strings.Join(s.Command, " ")
	}
	return s.File
}

// Load gets the key. Where a file or a credential is not there, the error wraps fs.ErrNotExist; where a command fails,
// it is Unavailable.
func (s Source) Load(ctx context.Context) (Key, error) {
	switch {
	case s.Credential != "":
		return loadCredential(s.Credential)
	case len(s.Command) > 0:
		return loadFromCommand(ctx, s.Command)
	}
	return Load(s.File)
}

// loadCredential reads a file that systemd has made for this service alone, whatever its mode says.
func loadCredential(name string) (k Key, err error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return k, fmt.Errorf("systemd has given no credentials to this process, so that there is no sealing key %s%s: "+
			"$CREDENTIALS_DIRECTORY is not set: %w", credentialPrefix, name, fs.ErrNotExist)
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return k, fmt.Errorf("read the sealing key %s%s: %w", credentialPrefix, name, err)
	}
	return parse(text, "the credential "+name)
}

// maxOutput is far more than a key has, and as much as is read of a command.
const maxOutput = 4 << 10

// loadFromCommand runs the command without a shell, with nothing to read, in a group of processes of its own, which
// ends with it or when its time is over.
func loadFromCommand(ctx context.Context, command []string) (k Key, err error) {
	limited, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(limited, command[0], command[1:]...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &limitedWriter{&out, maxOutput}, &limitedWriter{&said, maxOutput}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // that a process which has left the group may hold its output open
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return k, ctx.Err()
	case limited.Err() != nil:
		return k, backstay.Errorf(backstay.Unavailable, "The command that gives the sealing key, %s, did not end within %s.",
			command[0], commandPatience)
	case err != nil:
		return k, backstay.Errorf(backstay.Unavailable, "The command that gives the sealing key, %s, failed (%v)%s",
			command[0], err, lastLine(said.Bytes()))
	}
	return parse(out.Bytes(), "the output of "+command[0])
}

// lastLine is what a command said last before it failed, behind a colon; a full stop if that is nothing.
func lastLine(said []byte) string {
	text := strings.TrimSpace(string(said))
	if text = text[strings.LastIndexByte(text, '\n')+1:]; text == "" {
		return "."
	}
	return fmt.Sprintf(": %.200s", text)
}

// limitedWriter keeps the beginning of what is written to it.
type limitedWriter struct {
	to   *bytes.Buffer
	left int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	kept := min(len(p), w.left)
	w.left -= kept
	w.to.Write(p[:kept])
	return len(p), nil
}

// parse reads a key's text, of what it is called in the error.
func parse(text []byte, what string) (k Key, err error) {
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != len(k) {
		return k, fmt.Errorf("%s is not a sealing key: it must be %d hexadecimal digits, as "+
			"\"openssl rand -hex %d\" makes them", what, 2*len(k), len(k))
	}
	return Key(raw), nil
}

// New returns a key that nobody has had before.
func New() (k Key) {
	rand.Read(k[:]) // never fails
	return k
}
