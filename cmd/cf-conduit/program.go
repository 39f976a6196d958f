package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
)

// programError is a program's failure: it has said itself what went wrong.
type programError struct {
	name string
	code int
}

func (e programError) Error() string {
	return fmt.Sprintf("%s ended with exit code %d", e.name, e.code)
}

// clients are programs that are for one kind of service alone.
var clients = map[string]string{
	"psql": "postgres", "pg_dump": "postgres", "pg_restore": "postgres", "pgbench": "postgres", "pg_dumpall": "postgres",
	"mysql": "mysql", "mysqldump": "mysql", "mariadb": "mysql", "mariadb-dump": "mysql", "mysqlimport": "mysql",
	"redis-cli": "redis", "valkey-cli": "redis",
}

// first is the first service of a kind, nil if there is none.
func (s *session) first(kind string) *service {
	for _, service := range s.services {
		if service.kind() == kind {
			return service
		}
	}
	return nil
}

// checkProgram refuses a program that none of the services is for.
func (s *session) checkProgram() error {
	if len(s.options.program) == 0 {
		return nil
	}
	kind, known := clients[s.options.name()]
	if known && s.first(kind) == nil {
		return fmt.Errorf("%s program expects one of the following service types: %s", s.options.name(), kind)
	}
	return nil
}

// run runs the program with all that it needs to find the services, and returns how it ended.
func (s *session) run(path string) error {
	environment, err := s.environment()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, slices.Concat(s.arguments(), s.options.program[1:])...)
	cmd.Args[0] = s.options.program[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = with(os.Environ(), environment)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, endSignals...) // what the program makes of them is its own business
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for got := range signals {
			pass(got, cmd.Process)
		}
	}()
	finish := s.showProgress()
	err = cmd.Wait()
	s.drain()
	finish()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return programError{s.options.name(), exitCode(exit)}
	case err != nil:
		return err
	case s.broken.Load():
		return fmt.Errorf("%w: what %s did may be incomplete, although it did not notice", errBroken, s.options.name())
	}
	return nil
}

// arguments are put before the user's own, for programs that read no environment.
func (s *session) arguments() []string {
	redis := s.first("redis")
	if redis == nil || clients[s.options.name()] != "redis" {
		return nil
	}
	args := []string{"-h", loopback, "-p", strconv.Itoa(redis.port)}
	if name := redis.text("username"); name != "" {
		args = append(args, "--user", name)
	}
	return args
}

// environment are the variables that programs find the services by.
func (s *session) environment() (map[string]string, error) {
	all := map[string]string{}
	services, err := json.Marshal(s.vcapServices())
	if err != nil {
		return nil, err
	}
	all["VCAP_SERVICES"] = string(services)
	if address := s.databaseURL(); address != "" {
		all["DATABASE_URL"] = address
	}
	for _, add := range []func(map[string]string) error{s.addPostgres, s.addMySQL, s.addRedis} {
		if err := add(all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

type vcapService struct {
	BindingName    *string              `json:"binding_name"`
	Credentials    backstay.Credentials `json:"credentials"`
	InstanceName   string               `json:"instance_name"`
	Label          string               `json:"label"`
	Name           string               `json:"name"`
	Plan           string               `json:"plan"`
	Provider       *string              `json:"provider"`
	SyslogDrainURL *string              `json:"syslog_drain_url"`
	Tags           []string             `json:"tags"`
	VolumeMounts   []struct{}           `json:"volume_mounts"`
}

func (s *session) vcapServices() map[string][]vcapService {
	all := map[string][]vcapService{}
	for _, service := range s.services {
		all[service.label] = append(all[service.label], vcapService{
			Credentials: service.tunnelled(), InstanceName: service.name, Name: service.name,
			Label: service.label, Plan: service.plan, Tags: append([]string{}, service.tags...), VolumeMounts: []struct{}{},
		})
	}
	return all
}

// databaseURL is the address of the first database, with the scheme that frameworks expect.
func (s *session) databaseURL() string {
	schemes := map[string]string{"postgres": "postgres", "postgresql": "postgres", "mysql": "mysql2", "mysql2": "mysql2"}
	for _, service := range s.services {
		address, _ := service.tunnelled()["uri"].(string)
		if u, err := url.Parse(address); err == nil && schemes[u.Scheme] != "" {
			return schemes[u.Scheme] + address[len(u.Scheme):]
		}
	}
	return ""
}

// writeAuthority leaves a service's authority in a file for programs, "" if it has none.
func (s *session) writeAuthority(number int, service *service) (path string, err error) {
	authority := service.authority()
	if authority == "" {
		return "", nil
	}
	path = filepath.Join(s.dir, fmt.Sprintf("authority-%d.pem", number))
	return path, os.WriteFile(path, []byte(authority), 0o600)
}

// addPostgres sets libpq's variables. How strictly a user wants to verify, and by what, is theirs to say.
func (s *session) addPostgres(all map[string]string) error {
	service := s.first("postgres")
	if service == nil {
		return nil
	}
	all["PGHOST"], all["PGPORT"] = loopback, strconv.Itoa(service.port)
	all["PGDATABASE"], all["PGUSER"], all["PGPASSWORD"] = service.text("name"), service.text("username"), service.text("password")
	authority, err := s.writeAuthority(slices.Index(s.services, service), service)
	switch {
	case err != nil || os.Getenv("PGSSLMODE") != "":
		return err
	case authority == "":
		all["PGSSLMODE"] = "require"
	default:
		all["PGSSLMODE"], all["PGSSLROOTCERT"] = "verify-full", authority
	}
	return nil
}

// addMySQL leaves a my.cnf where the clients of MySQL and of MariaDB look for it.
func (s *session) addMySQL(all map[string]string) error {
	service := s.first("mysql")
	if service == nil {
		return nil
	}
	authority, err := s.writeAuthority(slices.Index(s.services, service), service)
	if err != nil {
		return err
	}
	all["MYSQL_HOME"] = s.dir
	return os.WriteFile(filepath.Join(s.dir, "my.cnf"), []byte(service.myCnf(authority, isMariaDB())), 0o600)
}

// myCnf is an option file. mysqldump takes the name of its database as an argument.
func (s *service) myCnf(authority string, mariadb bool) string {
	var b strings.Builder
	line := func(name, value string) {
		fmt.Fprintf(&b, "%s=\"%s\"\n", name, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value))
	}
	b.WriteString("[client]\nprotocol=tcp\n")
	line("host", loopback)
	line("port", strconv.Itoa(s.port))
	line("user", s.text("username"))
	line("password", s.text("password"))
	if authority != "" {
		line("ssl-ca", authority)
	}
	switch {
	case authority == "" && mariadb:
		b.WriteString("ssl\n")
	case authority == "":
		b.WriteString("ssl-mode=REQUIRED\n")
	case mariadb:
		b.WriteString("ssl-verify-server-cert\n")
	default:
		b.WriteString("ssl-mode=VERIFY_IDENTITY\n")
	}
	b.WriteString("[mysql]\n")
	line("database", s.text("name"))
	return b.String()
}

// isMariaDB tells whose the client on the PATH is: each refuses the other's options for TLS.
func isMariaDB() bool {
	for _, program := range []string{"mysql", "mysqldump"} {
		if said, err := exec.Command(program, "--no-defaults", "--version").Output(); err == nil {
			return bytes.Contains(said, []byte("MariaDB"))
		}
	}
	return true
}

func (s *session) addRedis(all map[string]string) error {
	if service := s.first("redis"); service != nil {
		all["REDISCLI_AUTH"] = service.text("password")
	}
	return nil
}

// with returns environ with variables in the place of its own of the same names.
func with(environ []string, variables map[string]string) []string {
	same := func(a, b string) bool { return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b) }
	merged := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		for replaced := range variables {
			if same(name, replaced) {
				return true
			}
		}
		return false
	})
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		merged = append(merged, name+"="+variables[name])
	}
	return merged
}
