package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/tenant"
)

var osbClientUsage = `Usage: backstay osb-client list [FLAGS]
       backstay osb-client create NAME [--max-instances N] [FLAGS]
       backstay osb-client rotate NAME [--grace DURATION] [FLAGS]
       backstay osb-client limit NAME N [FLAGS]
       backstay osb-client revoke NAME [FLAGS]
       backstay osb-client instances NAME [FLAGS]

A client of the Open Service Broker API is another platform that may use the broker, where "backstay serve --osb" or
"backstay broker" serves it. Each sees the instances and bindings that it made, and no other's.

create and rotate make up a password and show it, this once; it is kept nowhere. After rotate, those before are good
until the grace is over, so that the platform can be told the new one meanwhile. limit changes how many instances a
client may have. revoke ends all its passwords at once: its instances stay, and rotate lets it in again. A client that
was revoked and has no instances is gone when its name is given again. instances lists what a client has: the id that
its platform gave, and the id by which everything else here knows it, as "backstay backups" does.

  --max-instances N   how many instances it may have (` + strconv.Itoa(tenant.DefaultMaxInstances) + `)
  --grace DURATION    how long the passwords before are good (24h)
` + stateUsage

func manageOSBClients(ctx context.Context, c *cli, args []string) error {
	return dispatch(ctx, c, "osb-client", []verb{
		{"list", listOSBClients}, {"create", createOSBClient}, {"rotate", rotateOSBClient}, {"limit", limitOSBClient},
		{"revoke", revokeOSBClient}, {"instances", listOSBInstances},
	}, args)
}

// withTenants lends do the clients of a Backstay that runs on this machine.
func (f *usersFlags) withTenants(ctx context.Context, c *cli, do func(*tenant.Registry) error) error {
	return f.withStore(ctx, c, func(_ *config, store *state.Store) error {
		r := &tenant.Registry{Store: store.Tenants(), Now: time.Now, Log: slog.New(slog.NewTextHandler(c.stderr, nil))}
		return listAdvised(do(r), "osb-client")
	})
}

func listOSBClients(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("osb-client list", flag.ContinueOnError)
	f.add(c, fs)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	return f.withTenants(ctx, c, func(r *tenant.Registry) error {
		all, err := r.List(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "name\tinstances\tof at most\tpasswords")
		for _, t := range all {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", t.Name, t.Instances, t.MaxInstances, passwordsOf(t))
		}
		return w.Flush()
	})
}

// passwordsOf tells which passwords of a client are good, and until when.
func passwordsOf(t tenant.Tenant) string {
	if len(t.Passwords) == 0 {
		return "revoked"
	}
	told := ""
	for i, p := range t.Passwords {
		if i > 0 {
			told += "; "
		}
		told += "since " + p.CreatedAt.UTC().Format(time.DateTime)
		if !p.EndsAt.IsZero() {
			told += " until " + p.EndsAt.UTC().Format(time.DateTime)
		}
	}
	return told
}

func createOSBClient(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("osb-client create", flag.ContinueOnError)
	f.add(c, fs)
	most := fs.Int("max-instances", tenant.DefaultMaxInstances, "")
	operands, err := parseOperands(fs, args, "a client's name")
	if err != nil {
		return err
	}
	return f.withTenants(ctx, c, func(r *tenant.Registry) error {
		password, err := r.Create(ctx, operator(), operands[0], *most)
		return c.showPassword(password, err)
	})
}

// showPassword shows a password that was just made.
func (c *cli) showPassword(password backstay.Secret, err error) error {
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s\n", password.Reveal())
	return err
}

func rotateOSBClient(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("osb-client rotate", flag.ContinueOnError)
	f.add(c, fs)
	grace := fs.Duration("grace", 24*time.Hour, "")
	operands, err := parseOperands(fs, args, "a client's name")
	if err != nil {
		return err
	}
	if *grace < 0 {
		return usagef("--grace %s is in the past.", *grace)
	}
	return f.withTenants(ctx, c, func(r *tenant.Registry) error {
		password, err := r.Rotate(ctx, operator(), operands[0], *grace)
		return c.showPassword(password, err)
	})
}

func limitOSBClient(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("osb-client limit", flag.ContinueOnError)
	f.add(c, fs)
	operands, err := parseOperands(fs, args, "a client's name", "a number of instances")
	if err != nil {
		return err
	}
	most, err := strconv.Atoi(operands[1])
	if err != nil {
		return usagef("%q is not a number of instances.", operands[1])
	}
	return f.withTenants(ctx, c, func(r *tenant.Registry) error { return r.Limit(ctx, operator(), operands[0], most) })
}

func revokeOSBClient(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("osb-client revoke", flag.ContinueOnError)
	f.add(c, fs)
	operands, err := parseOperands(fs, args, "a client's name")
	if err != nil {
		return err
	}
	return f.withTenants(ctx, c, func(r *tenant.Registry) error { return r.Revoke(ctx, operator(), operands[0]) })
}

func listOSBInstances(ctx context.Context, c *cli, args []string) error {
	var f usersFlags
	fs := flag.NewFlagSet("osb-client instances", flag.ContinueOnError)
	f.add(c, fs)
	operands, err := parseOperands(fs, args, "a client's name")
	if err != nil {
		return err
	}
	return f.withTenants(ctx, c, func(r *tenant.Registry) error {
		all, err := r.Instances(ctx, operands[0])
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "id at the platform\tid here\tsince")
		for _, i := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\n", i.ExternalID, i.InstanceID, i.CreatedAt.UTC().Format(time.DateTime))
		}
		return w.Flush()
	})
}
