package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/uaa"
)

// usersFlags lead a command to the users of a Backstay that runs on this machine.
type usersFlags struct{ read func() (*config, error) }

func (f *usersFlags) add(c *cli, fs *flag.FlagSet) {
	f.read = c.configFlags(fs, stateNames...)
}

// stateNames are the settings of commands that look into the state of a Backstay that runs.
var stateNames = []string{dataSetting, databaseSetting, sealKeySetting}

// stateUsage is for commands that look into the state of a Backstay that runs.
var stateUsage = configFlagUsage + new(cli).table().Help(stateNames...)

// withStore lends do the state of a Backstay that runs on this machine.
func (f *usersFlags) withStore(ctx context.Context, c *cli, do func(*config, *state.Store) error) error {
	cfg, err := f.read()
	if err != nil {
		return err
	}
	store, err := c.openRunning(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	return do(cfg, store)
}

// withUsers lends do the login server's users.
func (f *usersFlags) withUsers(ctx context.Context, c *cli, do func(*uaa.Server) error) error {
	return f.withStore(ctx, c, func(cfg *config, store *state.Store) error {
		_, keys, err := cfg.openKeys(ctx)
		if err != nil {
			return err
		}
		return do(&uaa.Server{Store: store, Key: keys.State, Log: slog.New(slog.NewTextHandler(c.stderr, nil))})
	})
}

// operator is who uses this machine, as events name them.
func operator() backstay.Actor {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return backstay.Actor{Username: "operator " + name}
}

// verb is the word after a command that has several.
type verb struct {
	name string
	run  func(ctx context.Context, c *cli, args []string) error
}

// dispatch runs the verb that args begin with.
func dispatch(ctx context.Context, c *cli, command string, verbs []verb, args []string) error {
	var names []string
	for _, v := range verbs {
		if len(args) > 0 && args[0] == v.name {
			return v.run(ctx, c, args[1:])
		}
		names = append(names, v.name)
	}
	if len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		return flag.ErrHelp
	}
	return usagef("%s wants one of: %s.", command, strings.Join(names, ", "))
}

var adminPasswordUsage = `Usage: backstay admin-password [FLAGS]

Makes a new password for the user admin and shows it. Who is logged in as admin no longer is.

` + stateUsage

func adminPassword(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("admin-password", flag.ContinueOnError)
	f.add(c, fs)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	return f.withUsers(ctx, c, func(s *uaa.Server) error { return resetPassword(ctx, c, s, "admin") })
}

func resetPassword(ctx context.Context, c *cli, s *uaa.Server, username string) error {
	password, err := s.ResetPassword(ctx, operator(), username)
	if err != nil {
		return listAdvised(err, "user")
	}
	fmt.Fprintf(c.stdout, "%s\n", password)
	return nil
}

// listAdvised sends whoever named somebody who is not there to the list of those who are.
func listAdvised(err error, command string) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return advise(err, "backstay %s list", command)
	}
	if backstay.KindOf(err) != backstay.Internal {
		return advise(err, "backstay help %s", command)
	}
	return err
}

var userUsage = `Usage: backstay user list [FLAGS]
       backstay user set-role NAME ROLE [FLAGS]
       backstay user new-password NAME [FLAGS]

Users are made and deleted by "cf create-user" and "cf delete-user". Here they get a role on the whole
platform, at once, also where they are logged in. ROLE is one of

  admin             may do everything
  admin_read_only   may see everything, credentials too
  global_auditor    may see everything but credentials
  none              has the roles that organizations and spaces give

At least one user stays admin. new-password makes a new password and shows it; who is logged in as that
user no longer is.

` + stateUsage

func manageUsers(ctx context.Context, c *cli, args []string) error {
	verbs := []verb{{"list", listUsers}, {"set-role", setRole}, {"new-password", newPassword}}
	return dispatch(ctx, c, "user", verbs, args)
}

func listUsers(ctx context.Context, c *cli, args []string) error {
	return listAccounts(ctx, c, args, false)
}

// listAccounts prints the users, or the clients, with their roles.
func listAccounts(ctx context.Context, c *cli, args []string, clients bool) error {
	var f usersFlags
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	f.add(c, fs)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	return f.withUsers(ctx, c, func(s *uaa.Server) error {
		all, err := s.Store.Accounts(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "name\trole")
		for _, u := range all {
			if u.Client == clients {
				fmt.Fprintf(w, "%s\t%s\n", u.Username, cmp.Or(string(u.Role), noRole))
			}
		}
		return w.Flush()
	})
}

func setRole(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("user set-role", flag.ContinueOnError)
	f.add(c, fs)
	operands, err := parseOperands(fs, args, "a user's name", "a role")
	if err != nil {
		return err
	}
	role, err := parseRole(operands[1])
	if err != nil {
		return err
	}
	return f.withUsers(ctx, c, func(s *uaa.Server) error {
		return listAdvised(s.SetGlobalRole(ctx, operator(), operands[0], role), "user")
	})
}

// noRole stands for the empty role.
const noRole = "none"

func parseRole(text string) (backstay.GlobalRole, error) {
	roles := []backstay.GlobalRole{backstay.Administrator, backstay.AdminReadOnly, backstay.GlobalAuditor}
	if text == noRole {
		return "", nil
	}
	if role := backstay.GlobalRole(text); slices.Contains(roles, role) {
		return role, nil
	}
	return "", usagef("There is no role %q: it is one of %v or %s.", text, roles, noRole)
}

func newPassword(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("user new-password", flag.ContinueOnError)
	f.add(c, fs)
	operands, err := parseOperands(fs, args, "a user's name")
	if err != nil {
		return err
	}
	return f.withUsers(ctx, c, func(s *uaa.Server) error { return resetPassword(ctx, c, s, operands[0]) })
}
