package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// longestVariable is how much Linux takes of one variable of a new program's environment, with its name, "=" and
// the NUL at its end (MAX_ARG_STRLEN).
const longestVariable = 128 << 10

const (
	servicesVariable = "VCAP_SERVICES"
	servicesFile     = "VCAP_SERVICES_FILE_PATH" // Cloud Foundry's name for it
)

func tooLong(name, value string) bool { return len(name)+len(value)+2 > longestVariable }

// fitEnvironment puts services that are too many for a variable into a file, as Cloud Foundry does, and refuses what
// else no program can be given.
func fitEnvironment(variables map[string]string) error {
	if services := variables[servicesVariable]; tooLong(servicesVariable, services) {
		path, err := unlistedFile(servicesVariable, services)
		if err != nil {
			return err
		}
		delete(variables, servicesVariable)
		variables[servicesFile] = path
	}
	for name, value := range variables {
		if tooLong(name, value) {
			return advise(fmt.Errorf("the variable %s has %d bytes: with its name, a program takes less than %v of one",
				name, len(value), backstay.Bytes(longestVariable)), "cf env APP")
		}
	}
	return nil
}

// unlistedFile is a file in no directory with that text, which ends with the program that we become. Its path is
// good for that program and what it starts, and for nobody of another user.
func unlistedFile(name, text string) (path string, err error) {
	fd, err := unix.MemfdCreate(name, 0) // stays open in the program that we become
	if err != nil {
		return "", fmt.Errorf("make a file for %s: %w", name, err)
	}
	path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write a file for %s: %w", name, err)
	}
	return path, nil
}
