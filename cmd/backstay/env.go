package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

var envUsage = `Usage: eval "$(backstay env [--data DIR])"

Prints what puts backstay and cf on the PATH, lets cf find the login that "make up" left, and lets the other
commands of backstay (usage, user, doctor and the like) look where this one looked.

` + dataUsage

func printEnv(_ context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("env", flag.ContinueOnError)
	data := c.dataFlags(fs)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	dir, err := data()
	if err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "export PATH=%s:\"$PATH\"\nexport CF_HOME=%s\nexport %s=%s\n",
		shellQuote(filepath.Dir(binary)), shellQuote(dir.cfHome()), dataVariable, shellQuote(string(dir)))
	return nil
}

// shellQuote makes s one word that a POSIX shell takes literally.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
