package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/uaa"
)

var clientUsage = `Usage: backstay client list [FLAGS]
       backstay client create NAME [--role ROLE] [--secret-file FILE] [FLAGS]
       backstay client rotate-secret NAME [--secret-file FILE] [FLAGS]
       backstay client delete NAME [FLAGS]

A client is a program that logs in by itself, by "cf auth NAME SECRET --client-credentials". What it may do
is said by "cf set-space-role NAME ORG SPACE ROLE --client" and "cf set-org-role", as for a user.

create and rotate-secret make up a secret and show it, this once. A new secret, or the client's end, ends
all that it is logged in to, at once.

  --role ROLE          on the whole platform: admin, admin_read_only, global_auditor or none (the default)
  --secret-file FILE   take the secret from the first line of this file, or of standard input if it is -
` + stateUsage

func manageClients(ctx context.Context, c *cli, args []string) error {
	return dispatch(ctx, c, "client", []verb{
		{"list", func(ctx context.Context, c *cli, args []string) error { return listAccounts(ctx, c, args, true) }},
		{"create", createClient}, {"rotate-secret", rotateSecret}, {"delete", deleteClient},
	}, args)
}

func createClient(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("client create", flag.ContinueOnError)
	f.add(c, fs)
	roleName := fs.String("role", noRole, "")
	file := fs.String("secret-file", "", "")
	operands, err := parseOperands(fs, args, "a client's name")
	if err != nil {
		return err
	}
	role, err := parseRole(*roleName)
	if err != nil {
		return err
	}
	return c.giveSecret(ctx, f, *file, func(s *uaa.Server, given backstay.Secret) (backstay.Secret, error) {
		return s.CreateClient(ctx, operator(), operands[0], role, given)
	})
}

func rotateSecret(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("client rotate-secret", flag.ContinueOnError)
	f.add(c, fs)
	file := fs.String("secret-file", "", "")
	operands, err := parseOperands(fs, args, "a client's name")
	if err != nil {
		return err
	}
	return c.giveSecret(ctx, f, *file, func(s *uaa.Server, given backstay.Secret) (backstay.Secret, error) {
		return s.RotateSecret(ctx, operator(), operands[0], given)
	})
}

// giveSecret gives a client the secret in file, or one that is made up and shown.
func (c *cli) giveSecret(ctx context.Context, f usersFlags, file string,
	give func(*uaa.Server, backstay.Secret) (backstay.Secret, error)) error {
	given, err := c.readSecret(file)
	if err != nil {
		return err
	}
	return f.withUsers(ctx, c, func(s *uaa.Server) error {
		secret, err := give(s, given)
		if err != nil {
			return listAdvised(err, "client")
		}
		if given == "" {
			fmt.Fprintf(c.stdout, "%s\n", secret.Reveal())
		}
		return nil
	})
}

// readSecret reads the first line of a file; it is empty if no file was named, and only then.
func (c *cli) readSecret(file string) (backstay.Secret, error) {
	if file == "" {
		return "", nil
	}
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(c.stdin, 64<<10))
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return "", advise(fmt.Errorf("read the secret: %w", err), "backstay help client")
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", advise(errors.New("the first line of the secret file is empty"), "backstay help client")
	}
	return backstay.Secret(line), nil
}

func deleteClient(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("client delete", flag.ContinueOnError)
	f.add(c, fs)
	operands, err := parseOperands(fs, args, "a client's name")
	if err != nil {
		return err
	}
	return f.withUsers(ctx, c, func(s *uaa.Server) error {
		return listAdvised(s.DeleteClient(ctx, operator(), operands[0]), "client")
	})
}
