package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

func mustService(t testing.TB, label, credentials string) *service {
	t.Helper()
	s := &service{name: "db", label: label, port: 7080}
	var c backstay.Credentials
	if err := json.Unmarshal([]byte(credentials), &c); err != nil {
		t.Fatal(err)
	}
	s.Credentials = c
	return s
}

func TestTunnelledCredentials(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, is, want string }{
		{"ours", `{"host":"10.0.0.5","port":5432,"uri":"postgres://u:p@10.0.0.5:5432/main","jdbcuri":"jdbc:postgresql://10.0.0.5:5432/main?ssl=true"}`,
			`{"host":"127.0.0.1","jdbcuri":"jdbc:postgresql://127.0.0.1:7080/main?ssl=true","port":7080,"uri":"postgres://u:p@127.0.0.1:7080/main"}`},
		{"text port", `{"hostname":"db.example","port":"9200","uri":"https://u:p@db.example:9200"}`,
			`{"hostname":"127.0.0.1","port":"7080","uri":"https://u:p@127.0.0.1:7080"}`},
		{"nested", `{"uri":"http://h:80/x","prometheus":{"remote_read":[{"url":"http://h:80/read"}],"port":80}}`,
			`{"prometheus":{"port":7080,"remote_read":[{"url":"http://127.0.0.1:7080/read"}]},"uri":"http://127.0.0.1:7080/x"}`},
		{"others stay", `{"host":"db","port":5432,"uri":"postgres://u:p@db:5432,other-db:5432,db:54321/main"}`,
			`{"host":"127.0.0.1","port":7080,"uri":"postgres://u:p@127.0.0.1:7080,other-db:5432,db:54321/main"}`},
		{"none", `{"aws_access_key_id":"x"}`, `{"aws_access_key_id":"x"}`},
	} {
		got, err := json.Marshal(mustService(t, "", tc.is).tunnelled())
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %s, %v\nwant %s", tc.name, got, err, tc.want)
		}
	}
}

func TestServicesThatAreTooLongAreAFile(t *testing.T) {
	t.Parallel()
	s := &session{dir: t.TempDir(), services: []*service{mustService(t, "postgres", `{"host":"h","port":1}`)}}
	s.services[0].instance, s.services[0].binding = "the-instance", "the-key"
	all, err := s.environment()
	if err != nil || all["VCAP_SERVICES_FILE_PATH"] != "" ||
		!strings.Contains(all["VCAP_SERVICES"], `"binding_guid":"the-key"`) ||
		!strings.Contains(all["VCAP_SERVICES"], `"instance_guid":"the-instance"`) {
		t.Errorf("a program finds %v, %v", all, err)
	}
	s.services[0].Credentials["blob"] = strings.Repeat("x", longestServices)
	if all, err = s.environment(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(all["VCAP_SERVICES_FILE_PATH"])
	if _, set := all["VCAP_SERVICES"]; set || err != nil || !strings.Contains(string(text), `"blob":"xxx`) {
		t.Errorf("a program finds %d characters, %v", len(text), err)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for kind, services := range map[string][]*service{
		"postgres":      {mustService(t, "anything", `{"uri":"postgresql://h:1/d"}`), mustService(t, "postgres", `{}`)},
		"mysql":         {mustService(t, "db", `{"uri":"mysql2://h:1/d"}`), mustService(t, "MariaDB", `{}`)},
		"redis":         {mustService(t, "cache", `{"uri":"rediss://h:1"}`), {tags: []string{"elasticache", "redis"}}},
		"mongodb":       {mustService(t, "documents", `{"uri":"mongodb://h:1/main"}`), mustService(t, "MongoDB", `{}`)},
		"elasticsearch": {mustService(t, "Elasticsearch", `{"uri":"https://h:1"}`), {tags: []string{"opensearch"}}},
		"":              {mustService(t, "influxdb", `{"uri":"https://h:1"}`), {}},
	} {
		for _, s := range services {
			if got := s.kind(); got != kind {
				t.Errorf("%s %v: %q, want %q", s.label, s.Credentials, got, kind)
			}
		}
	}
}

func TestMyCnfQuotes(t *testing.T) {
	t.Parallel()
	s := mustService(t, "mysql", `{"username":"u","password":"a\"b\\c#d","name":"main"}`)
	got := s.myCnf("/tmp/authority.pem", true)
	for _, line := range []string{`password="a\"b\\c#d"`, "ssl-verify-server-cert", `ssl-ca="/tmp/authority.pem"`, "[mysql]\ndatabase=\"main\""} {
		if !strings.Contains(got, line) {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
	if got := s.myCnf("", false); !strings.Contains(got, "ssl-mode=REQUIRED") {
		t.Errorf("without an authority: %s", got)
	}
}

func TestParse(t *testing.T) {
	t.Setenv("CF_CONDUIT_MIN_TLS_VERSION", "TLS13")
	o, err := parse(
		[]string{"-p", "7100", "one", "--bind-parameters", `{"read_only": true}`, "two", "--", "psql", "-p", "1", "--", "x"},
	)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.services, []string{"one", "two"}) || !slices.Equal(o.program, []string{"psql", "-p", "1", "--", "x"}) ||
		o.port != 7100 ||
		string(o.parameters) != `{"read_only": true}` ||
		o.tls.MinVersion != 0x304 {
		t.Errorf("%+v", o)
	}
	for line, say := range map[string]string{
		"":                        "requires at least one SERVICE_INSTANCE",
		"-e db":                   "must specify --app-name of existing app to reuse",
		"-c {} -p 70000 db":       "is no port",
		"--what db":               "flag provided but not defined",
		"-c [] db":                "Could not parse bind parameters as JSON",
		"-e -n a -c {\"a\":1} db": "are made already",
	} {
		if _, err := parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want %s", line, err, say)
		}
	}
}

// Not every client of MySQL knows an option for its character set: where it stands, all of them start.
func TestMyCnfIsReadByEveryClient(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "client.cnf")
	s := mustService(t, "mysql", `{"username":"u","password":"p","name":"main"}`)
	for _, client := range []string{"mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlcheck", "mysqlslap", "mysqlbinlog"} {
		path, err := exec.LookPath(client)
		if err != nil {
			t.Skipf("the clients of MySQL are not installed (%v); type: make setup", err)
		}
		if err := os.WriteFile(file, []byte(s.myCnf("", isMariaDB(client))), 0o600); err != nil {
			t.Fatal(err)
		}
		said, err := exec.Command(path, "--defaults-file="+file, "--version").CombinedOutput()
		if err != nil || strings.Contains(string(said), "unknown") {
			t.Errorf("%s: %v: %s", client, err, said)
		}
	}
}

func TestMySQLReadsOneFile(t *testing.T) {
	t.Parallel()
	named := filepath.Join(t.TempDir(), "named.cnf")
	if err := os.WriteFile(named, []byte("[client]\nhost=elsewhere\nconnect-timeout=7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		says string
	}{
		{"none", []string{"--print-defaults"}, ""},
		{"another's", []string{"--defaults-extra-file=" + named, "--print-defaults"}, "--connect-timeout=7"},
		{"no file", []string{"--no-defaults", "--print-defaults"}, ""},
	} {
		s := &session{
			dir: t.TempDir(), services: []*service{mustService(t, "mysql", `{"username":"u","password":"p","name":"main"}`)},
		}
		s.options.program = append([]string{"mysql"}, tc.args...)
		args, err := s.arguments()
		if err != nil {
			t.Fatal(err)
		}
		said, err := exec.Command("mysql", args...).Output()
		hosts := regexp.MustCompile(`--host=\S+`).FindAllString(string(said), -1)
		if err != nil || len(hosts) == 0 || hosts[len(hosts)-1] != "--host=127.0.0.1" ||
			!strings.Contains(string(said), tc.says) {
			t.Errorf("%s: %v: %s", tc.name, err, said)
		}
	}
	s := &session{dir: t.TempDir(), services: []*service{mustService(t, "mysql", `{}`)}}
	s.options.program = []string{"mysql", "--defaults-file=" + named + ".not-there"}
	if _, err := s.arguments(); err == nil {
		t.Error("an option file that is not there is no error")
	}
}
