package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cfBinary is the genuine cf, as the Makefile builds it.
func cfBinary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/cf")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the genuine cf is not built (%v); type: make bin/cf", err)
	}
	return path
}

// targetedAPI serves two paths of an API and returns a login of the genuine cf that targets it.
func targetedAPI(t *testing.T, cf string) cfCLI {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"links":{"cloud_controller_v3":{"meta":{"version":"3.204.0"}}}}`)
	})
	mux.HandleFunc("GET /v3/apps", func(w http.ResponseWriter, r *http.Request) {
		resources := "[]"
		if q := r.URL.Query(); q.Get("names") == "my%2Capp" && q.Get("space_guids") == "space-1" {
			resources = `[{"guid":"app-1"}]`
		}
		fmt.Fprintf(w, `{"resources":%s}`, resources)
	})
	mux.HandleFunc("GET /v3/apps/app-1/env", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"system_env_json":{"VCAP_SERVICES":{"postgres":[]}},"environment_variables":{"COLOR":"blue"}}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	login := cfCLI{program: cf, home: t.TempDir()}
	api := exec.Command(cf, "api", server.URL)
	api.Env = append(os.Environ(), "CF_HOME="+login.home)
	if out, err := api.CombinedOutput(); err != nil {
		t.Fatalf("cf api: %v: %s", err, out)
	}
	return login
}

// targetSpace does what "cf target -s" does to the CLI's own configuration.
func targetSpace(t *testing.T, login cfCLI, space string) {
	t.Helper()
	path := filepath.Join(login.home, ".cf", "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	config["SpaceFields"] = map[string]string{"GUID": space}
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAppVariables(t *testing.T) {
	t.Parallel()
	login := targetedAPI(t, cfBinary(t))
	if _, err := appVariables(t.Context(), login, "my,app"); err == nil ||
		!strings.Contains(err.Error(), "no space is targeted") {
		t.Errorf("without a space: %v", err)
	}
	targetSpace(t, login, "space-1")
	if _, err := appVariables(t.Context(), login, "other"); err == nil ||
		!strings.Contains(err.Error(), `App "other" is not in`) {
		t.Errorf("an app that is not there: %v", err)
	}
	got, err := appVariables(t.Context(), login, "my,app")
	if err != nil {
		t.Fatal(err)
	}
	if got["VCAP_SERVICES"] != `{"postgres":[]}` || got["COLOR"] != "blue" || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestAppVariablesWithoutAnAPI(t *testing.T) {
	t.Parallel()
	login := cfCLI{program: cfBinary(t), home: t.TempDir()}
	if err := os.Mkdir(filepath.Join(login.home, ".cf"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(login.home, ".cf", "config.json"), []byte(`{"ConfigVersion":4}`),
		0o600); err != nil {
		t.Fatal(err)
	}
	targetSpace(t, login, "space-1")
	if _, err := appVariables(context.Background(), login, "my-app"); err == nil {
		t.Error("no error without an API")
	}
}

func TestAppEnvironmentVariables(t *testing.T) {
	t.Parallel()
	var env appEnvironment
	err := json.Unmarshal([]byte(`{
		"running_env_json": {"FROM": "platform", "SHARED": "1"},
		"environment_variables": {"FROM": "user", "VCAP_SERVICES": "forged", "NUMBER": 7},
		"system_env_json": {"VCAP_SERVICES": {"postgres": [ {"name": "my-pg"} ]}, 
			"DATABASE_URL": "postgres://u:p@h/d?a=1&b=2"},
		"application_env_json": {"VCAP_APPLICATION": {"name": "my-app"}}
	}`), &env)
	if err != nil {
		t.Fatal(err)
	}
	got, err := env.variables()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"FROM": "user", "SHARED": "1", "NUMBER": "7",
		"VCAP_SERVICES":    `{"postgres":[{"name":"my-pg"}]}`,
		"VCAP_APPLICATION": `{"name":"my-app"}`,
		"DATABASE_URL":     "postgres://u:p@h/d?a=1&b=2",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestRunReadsNoFileOfItsUser(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ argv, want []string }{
		{[]string{"mysql", "main"}, []string{"mysql", "--no-defaults", "main"}},
		{[]string{"/usr/bin/mariadb-dump", "--defaults-extra-file=f", "x"},
			[]string{"/usr/bin/mariadb-dump", "--defaults-file=f", "x"}},
		{[]string{"mysqladmin", "--no-defaults", "ping"}, []string{"mysqladmin", "--no-defaults", "ping"}},
		{[]string{"rails", "--no-defaults"}, []string{"rails", "--no-defaults"}},
	} {
		if got := withoutOptionFiles(tc.argv); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.argv, got, tc.want)
		}
	}
	variables := map[string]string{"PGPASSFILE": "the app's"}
	if got := withoutFiles(variables); got["PGPASSFILE"] != "the app's" || got["PGSERVICEFILE"] != absentFile {
		t.Errorf("a program finds %v", got)
	}
}
