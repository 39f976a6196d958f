package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/market"
)

var drillUsage = `Usage: backstay drill INSTANCE... [FLAGS]
       backstay drill --all [FLAGS]
       backstay drill --results [INSTANCE...] [FLAGS]

Holds drills, one after the other: the standby of each INSTANCE takes over, and one that has no standby is restarted.
Somebody writes to it all the while as its clients do, and it is shown for how long that failed, and how much of what
was acknowledged was lost. INSTANCE is a guid, as "cf service NAME --guid" shows it, or of another platform's instances
"backstay osb-client instances".

It is for instances alone whose developers allow it, as they do by

  cf set-label service-instance NAME drill=wanted

  --all                        hold one for each instance that allows it
  --results                    hold none, and show the last twenty of each, also those that developers have asked for
` + clusterUsage + "\n" + stateUsage + new(cli).table().Help("catalog")

func drill(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("drill", flag.ContinueOnError)
	read := c.configFlags(fs, slices.Concat(stateNames, clusterNames(), []string{"catalog"})...)
	all, results := fs.Bool("all", false, ""), fs.Bool("results", false, "")
	operands, err := parseAnywhere(fs, args)
	if err != nil {
		return err
	}
	if *all && (*results || len(operands) > 0) || !*all && !*results && len(operands) == 0 {
		return usagef("drill takes the guids of service instances, or --all, or --results.")
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	if *results {
		return c.showDrills(ctx, cfg, operands)
	}
	b, err := c.openBeside(ctx, cfg)
	if err != nil {
		return err
	}
	defer b.store.Close()
	return driller{b}.hold(ctx, operands)
}

// driller holds drills.
type driller struct{ *beside }

// hold holds a drill of each of these instances, or where none is named, of all that allow it. It goes on behind one
// that fails, and fails in the end.
func (d driller) hold(ctx context.Context, named []string) error {
	instances, err := d.willing(ctx, named)
	if err != nil {
		return err
	}
	if len(instances) == 0 {
		fmt.Fprintf(d.stdout, "No service instance allows drills. Its developers allow them by: cf set-label "+
			"service-instance NAME %s=%s\n", backstay.DrillLabel, backstay.DrillWanted)
	}
	var failed error
	for _, in := range instances {
		err := d.drill(ctx, in)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(d.stdout, "%s (%s): FAILED: %s\n", in.name, in.id, backstay.SentenceOf(err))
			failed = errors.Join(failed, fmt.Errorf("drill of %s: %w", in.id, err))
		}
	}
	if failed != nil {
		return advise(failed, "backstay drill --results")
	}
	return nil
}

// drilled is an instance that there may be a drill of.
type drilled struct {
	id   backstay.InstanceID
	name string // the users' for it
	own  bool   // it is of this marketplace, and not of another platform
	may  bool   // its users allow it
}

// willing returns the instances of these guids, or all, that allow drills. One that is named and does not is an error.
func (d driller) willing(ctx context.Context, named []string) (all []drilled, err error) {
	known, err := d.known(ctx)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return slices.DeleteFunc(known, func(in drilled) bool { return !in.may }), nil
	}
	for _, id := range named {
		i := slices.IndexFunc(known, func(in drilled) bool { return string(in.id) == id })
		if i < 0 {
			return nil, advise(backstay.Errorf(backstay.NotFound, "There is no service instance %s.", id),
				"backstay drill --results")
		}
		if in := known[i]; !in.may {
			err := backstay.Errorf(backstay.Forbidden, "The developers of %s do not allow drills.", in.name)
			if !in.own {
				return nil, err
			}
			return nil, advise(err, "cf set-label service-instance %s %s=%s", in.name, backstay.DrillLabel,
				backstay.DrillWanted)
		}
		all = append(all, known[i])
	}
	return all, nil
}

// known are the instances that have served, in the order of their guids, whichever platform they are of.
func (d driller) known(ctx context.Context) (all []drilled, err error) {
	scheduled, err := d.broker.Store.Schedule(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range scheduled {
		in, err := d.broker.Store.Instance(ctx, s.ID)
		if backstay.KindOf(err) == backstay.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, drilled{id: s.ID, name: cmp.Or(in.Name, string(s.ID)), may: s.MayDrill})
	}
	own, err := d.store.Instances(ctx, market.InstanceFilter{Types: []backstay.InstanceType{backstay.Managed}})
	for _, in := range own.Items {
		if i := slices.IndexFunc(all, func(one drilled) bool { return one.id == in.ID }); i >= 0 {
			all[i].name, all[i].own = in.Name, true
		}
	}
	slices.SortFunc(all, func(a, b drilled) int { return cmp.Compare(a.id, b.id) })
	return all, err
}

// drill holds a drill of one instance, as its developers could.
func (d driller) drill(ctx context.Context, in drilled) error {
	if err := d.broker.CheckDrill(ctx, in.id); err != nil {
		return err
	}
	at := d.places.of(ctx, in.id)
	status, err := at.Look(ctx, in.id)
	if err != nil {
		return err
	}
	asked := `{"reboot": true}`
	if len(status.Nodes) > 1 {
		if asked = `{"reboot": true, "force_failover": true}`; status.Protected.IsZero() {
			return backstay.Errorf(backstay.Unavailable, "Its standby cannot take over now: it is not protected.")
		}
	}
	if err := d.carryOut(ctx, in, asked); err != nil {
		return err
	}
	after, err := at.Look(ctx, in.id)
	switch {
	case err != nil:
		return err
	case after.Drill == nil || after.Drill.Ended.IsZero():
		return backstay.Errorf(backstay.Unavailable, "It is done, and it is not known yet what it cost.")
	}
	fmt.Fprintf(d.stdout, "%s (%s): %s\n", in.name, in.id, broker.DrillSentence(*after.Drill))
	return nil
}

// carryOut has the control plane hold a drill, and returns when that is over. In this marketplace it is an update like
// any other, by the operator; another platform hears of it from the broker.
func (d driller) carryOut(ctx context.Context, in drilled, asked string) error {
	if in.own {
		_, job, err := d.market.UpdateInstance(ctx, d.actor, in.id, market.InstanceUpdate{Parameters: json.RawMessage(asked)})
		if err != nil {
			return err
		}
		return d.await(ctx, job, func(string) {})
	}
	key, err := d.broker.HoldDrill(ctx, in.id)
	if err != nil {
		return err
	}
	return wait.Until(ctx, wait.Every(drillPause), func() (again bool, err error) {
		op, err := d.broker.Store.Operation(ctx, key)
		if err == nil && op.State == backstay.Failed {
			err = backstay.Errorf(backstay.Unavailable, "%s", op.Description)
		}
		return op.State == backstay.InProgress, err
	})
}

// drillPause is the time between two looks at whether a drill is over.
const drillPause = 100 * time.Millisecond

// showDrills shows what the last drills of these instances have seen, or of all.
func (c *cli) showDrills(ctx context.Context, cfg *config, named []string) error {
	all, _ := c.places(ctx, cfg)
	held, missing := all.drills(ctx)
	if len(held) == 0 && missing != nil {
		return missing
	}
	for _, id := range named {
		if _, ok := held[backstay.InstanceID(id)]; !ok {
			return advise(backstay.Errorf(backstay.NotFound, "No drill of %s is known.", id), "backstay drill --results")
		}
	}
	if len(named) > 0 {
		maps.DeleteFunc(held, func(id backstay.InstanceID, _ []backend.Drill) bool {
			return !slices.Contains(named, string(id))
		})
	}
	if err := writeDrills(c.stdout, held, c.instanceNames(ctx, cfg)); err != nil {
		return err
	}
	return missing
}

// writeDrills writes a line for each drill, and below them how far some can be relied on.
func writeDrills(
	to io.Writer, held map[backstay.InstanceID][]backend.Drill, names map[backstay.InstanceID]string,
) error {
	if len(held) == 0 {
		fmt.Fprintln(to, "No drill was held yet.")
		return nil
	}
	w := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "instance\tname\tbegan\twhat\twrites failed for\tacknowledged\tlost\tserves")
	var troubles []string
	for _, id := range slices.Sorted(maps.Keys(held)) {
		for _, d := range held[id] {
			what, failed := "restart", d.Failed.Round(time.Millisecond).String()
			if d.Changed {
				what = "failover"
			}
			if d.Written == 0 {
				failed = "not seen"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\tnode %s\n", id, cmp.Or(names[id], "-"), moment(d.Began), what, failed,
				d.Written, d.Lost, d.Node)
			if d.Trouble != "" {
				troubles = append(troubles, fmt.Sprintf("%s, %s: %s", id, moment(d.Began), d.Trouble))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, trouble := range troubles {
		fmt.Fprintf(to, "\n%s\n", trouble)
	}
	return nil
}
