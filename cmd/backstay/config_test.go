package main

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/settings"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// TestReference holds docs/configuration.md to the table of settings; go test ./cmd/backstay -update writes it.
func TestReference(t *testing.T) {
	t.Parallel()
	page := filepath.Join("..", "..", "docs", "configuration.md")
	want := strings.ReplaceAll(referenceIntro, "'", "`") + new(cli).table().Reference()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != want {
		t.Errorf("docs/configuration.md is not what the settings say (%v): go test ./cmd/backstay -update", err)
	}
}

// referenceIntro has ' where the page has `.
const referenceIntro = `# Configuration

Everything that 'backstay serve' can be told, and every other command as far as it concerns it. Each setting is a
flag, '--listen 0.0.0.0:7480', and an entry of the YAML file that '--config FILE' names, where it has the same
name, 'listen: 0.0.0.0:7480'. A flag goes over the file, the file over the default, and no setting must be given.
A path that is not absolute counts from the working directory.

The file is strict: a setting that does not exist, or stands there twice, or has a value that cannot be, is
refused with all other mistakes, and nothing is begun. 'backstay config' with the same flags prints what is in
force, and where each value comes from; 'backstay doctor' looks whether the machine bears it.

This page is made from the table in cmd/backstay/settings.go.
`

// TestEverySettingIsWhole holds each setting to what its flag, its help and its page are made from.
func TestEverySettingIsWhole(t *testing.T) {
	t.Parallel()
	for _, section := range new(cli).table() {
		for _, s := range section.Settings {
			if s.Unit == "" || s.Help == "" || strings.HasSuffix(s.Help, ".") || s.Read == nil {
				t.Errorf("%s lacks a unit, a help without a full stop, or how it is read", s.Name)
			}
			if s.DefaultBy != nil && s.Otherwise == "" {
				t.Errorf("%s does not say in words what its default is", s.Name)
			}
			if s.Default != "" && s.Read(&config{}, s.Default) != nil {
				t.Errorf("%s has the default %q, which it refuses", s.Name, s.Default)
			}
		}
	}
}

// TestWhatIsInForceCanBeReadAgain writes a configuration as "backstay config" does and reads it as a file.
func TestWhatIsInForceCanBeReadAgain(t *testing.T) {
	t.Parallel()
	c := &cli{env: func(string) string { return "/home/ada" }}
	dir := t.TempDir()
	first, err := c.serveConfig("config", []string{"--data", filepath.Join(dir, "it's # \"here\": yes"), "--tls",
		"--trusted-proxy", "::1,10.0.0.0/8", "--catalog", "- no", "--plugins", "0x10",
		"--database-url", "host=/run dbname='a b'"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := c.table().Write(&text, first.InForce); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "settings.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := c.serveConfig("config", []string{"--config", file})
	if err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	first.InForce, second.InForce = settings.Values{}, settings.Values{}
	first.doctor, second.doctor = "", ""
	if !reflect.DeepEqual(first, second) {
		t.Errorf("read again, it is\n%+v, not\n%+v\n%s", second, first, text.String())
	}
}

// TestRepositoryIsNoURL: a bucket that is written as other programs want it is not made a directory on the disk of the
// databases.
func TestRepositoryIsNoURL(t *testing.T) {
	t.Parallel()
	for text, can := range map[string]bool{"/mnt/backups": true, "backups": true, "s3://backups/one": false} {
		_, err := (&cli{env: func(string) string { return "/home/ada" }}).serveConfig("config", []string{"--repository", text})
		if (err == nil) != can {
			t.Errorf("--repository %q: got %v", text, err)
		}
	}
}

// TestHost: what no database could listen on is refused before anything is begun, not at the first create.
func TestHost(t *testing.T) {
	t.Parallel()
	for text, can := range map[string]bool{
		"127.0.0.1": true, "::1": true, "fe80::1%eth0": true, "localhost": true, "db-1.example.org.": true, "3com.com": true,
		"": false, "a b": false, "999.1.1.1": false, "[::1]": false, "127.0.0.1:80": false, "a/b": false, "a..b": false,
	} {
		for _, name := range []string{"--endpoint-host", "--endpoint-listen"} {
			_, err := (&cli{env: func(string) string { return "/home/ada" }}).serveConfig("config", []string{name, text})
			if (err == nil) != can {
				t.Errorf("%s %q: got %v", name, text, err)
			}
		}
	}
}

// TestWhatFailedIsExaminedAsItWasGiven: who types what the message says examines the same Backstay.
func TestWhatFailedIsExaminedAsItWasGiven(t *testing.T) {
	t.Parallel()
	c := &cli{env: func(string) string { return "" }}
	dir := t.TempDir()
	file := filepath.Join(dir, "its.yaml")
	if err := os.WriteFile(file, []byte("data: "+dir+"/data\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.serveConfig("serve", []string{"--config", file, "--seal-key", "command:/bin/unseal a"})
	if err != nil {
		t.Fatal(err)
	}
	want := "backstay doctor --config '" + file + "' --seal-key 'command:/bin/unseal a'"
	if cfg.doctor != want || c.doctor != want {
		t.Errorf("examined by %q and %q, want %q", cfg.doctor, c.doctor, want)
	}
}

// TestSealKeyThatIsNoFile is not to be shut for all others, and a credential is not a file.
func TestSealKeyThatIsNoFile(t *testing.T) {
	t.Parallel()
	cfg := &config{data: dataDir(t.TempDir())}
	cfg.SealKey.File = t.TempDir()
	if remedy := cfg.keyRemedy(); strings.Contains(remedy, "chmod") {
		t.Errorf("the remedy for a directory is %q", remedy)
	}
	cfg.SealKey = seal.Source{Credential: "absent"}
	if _, err := cfg.loadSealKey(t.Context()); err == nil || strings.Contains(err.Error(), "mode 0600") ||
		strings.Contains(err.Error(), ".:") {
		t.Errorf("of a credential that is missing is said: %v", err)
	}
}
