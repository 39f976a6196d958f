package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/clientenv"
)

// programError is a program's failure: it has said itself what went wrong.
type programError struct {
	name string
	code int
}

func (e programError) Error() string {
	return fmt.Sprintf("%s ended with exit code %d", e.name, e.code)
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
	kind := clientenv.Kind(s.options.program[0])
	if kind != "" && s.first(kind) == nil {
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
	arguments, err := s.arguments()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, arguments...)
	cmd.Args[0] = s.options.program[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = clientenv.Replace(os.Environ(), environment)
	var imported <-chan imports
	if s.imports() {
		if imported, err = s.importInto(cmd); err != nil {
			return err
		}
	}
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
	err = cmp.Or(err, s.imported(imported))
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

// arguments are the program's own, behind those that tell it where to connect if it reads no environment, or
// reads files of its user that would win over the environment.
func (s *session) arguments() ([]string, error) {
	own := s.options.program[1:]
	switch clientenv.Kind(s.options.program[0]) {
	case "redis":
		redis := s.first("redis")
		args := []string{"-h", loopback, "-p", strconv.Itoa(redis.port)}
		if name := redis.text("username"); name != "" {
			args = append(args, "--user", name)
		}
		return append(args, own...), nil
	case "mysql":
		named, rest := clientenv.CutOptionFile(own)
		file, err := s.writeOptions("client.cnf", s.options.program[0], named)
		return append([]string{"--defaults-file=" + file}, rest...), err
	case "mongodb":
		address, err := s.mongoAddress()
		return append([]string{address}, own...), err
	}
	return own, nil
}

// environment are the variables that programs find the services by.
func (s *session) environment() (map[string]string, error) {
	all := clientenv.WithoutFiles(filepath.Join(s.dir, "absent"))
	services, err := json.Marshal(s.vcapServices())
	if err != nil {
		return nil, err
	}
	if err := s.addServices(all, services); err != nil {
		return nil, err
	}
	if address := s.databaseURL(); address != "" {
		all["DATABASE_URL"] = address
	}
	for _, add := range []func(map[string]string) error{s.addPostgres, s.addMySQL, s.addRedis, s.addElasticsearch} {
		if err := add(all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// longestServices is how long VCAP_SERVICES may be: with its name and the NUL at its end, 128 KB (MAX_ARG_STRLEN).
const longestServices = 128<<10 - len("VCAP_SERVICES=") - 1

// addServices adds VCAP_SERVICES or, where that is longer than a variable can be, the file that has it.
func (s *session) addServices(all map[string]string, services []byte) error {
	if len(services) <= longestServices {
		all["VCAP_SERVICES"] = string(services)
		return nil
	}
	path := filepath.Join(s.dir, "vcap-services.json")
	all["VCAP_SERVICES_FILE_PATH"] = path
	return os.WriteFile(path, services, 0o600)
}

type vcapService struct {
	BindingGUID    backstay.BindingID   `json:"binding_guid"`
	BindingName    *string              `json:"binding_name"`
	Credentials    backstay.Credentials `json:"credentials"`
	InstanceGUID   backstay.InstanceID  `json:"instance_guid"`
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
			BindingGUID: service.binding, Credentials: service.tunnelled(), InstanceGUID: service.instance,
			InstanceName: service.name, Name: service.name,
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
