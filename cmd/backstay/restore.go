package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

var restoreUsage = `Usage: backstay restore INSTANCE --as NAME [--to ORG/SPACE] [--plan PLAN] [FLAGS]

Makes a new service instance, called NAME, from what is kept of INSTANCE, which stays as it is. INSTANCE is a guid, as
"backstay backups" shows it with all that can be restored. It may have been deleted: its last backup is kept for 35
days.

The new one is made where INSTANCE is or was, or in the space that --to names: an operator needs nobody's consent, and
both spaces have an audit event of it. It has the plan that INSTANCE has or had, unless --plan names another one of the
same service. Its logins, its certificate and its windows are its own. It has the newest data, or

` + originUsage + "\n" + clusterUsage + "\n" + stateUsage + new(cli).table().Help("catalog")

func restore(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("restore", flag.ContinueOnError)
	read := c.configFlags(fs, slices.Concat(stateNames, clusterNames(), []string{"catalog"})...)
	origin := addOrigin(fs)
	name, to, plan := fs.String("as", "", ""), fs.String("to", "", ""), fs.String("plan", "", "")
	operands, err := parseOperands(fs, args, "the guid of a service instance")
	if err != nil {
		return err
	}
	if *name == "" {
		return usagef("restore wants --as NAME, the name of the new service instance.")
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	b, err := c.openBeside(ctx, cfg)
	if err != nil {
		return err
	}
	defer b.store.Close()
	return restorer{b}.restore(ctx, backstay.InstanceID(operands[0]), origin, *name, *to, *plan)
}

// restorer makes instances out of backups.
type restorer struct{ *beside }

func (r restorer) restore(
	ctx context.Context, id backstay.InstanceID, origin *originFlags, name, to, plan string,
) error {
	kept, err := r.places.of(ctx, id).Backups(ctx, id)
	if err != nil {
		return backupsAdvised(err)
	}
	newest := snapshotOf
	if !kept.Latest.IsZero() {
		newest = momentOf
	}
	parameters, err := origin.parameters(string(id), newest)
	if err != nil {
		return err
	}
	was, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	wanted := market.NewInstance{Name: name, Parameters: parameters}
	if wanted.SpaceID, err = r.space(ctx, was, to); err != nil {
		return err
	}
	if wanted.PlanID, err = r.plan(ctx, was, plan); err != nil {
		return err
	}
	job, err := r.market.CreateInstance(ctx, r.actor, wanted)
	if err == nil {
		err = r.await(ctx, job, func(said string) { fmt.Fprintln(r.stdout, said) })
	}
	switch {
	case err != nil && ctx.Err() != nil && job.ID != "":
		return standing(name)
	case backstay.KindOf(err) == backstay.NotFound:
		return advise(err, "backstay restore, with the --catalog that serve was given")
	case err != nil:
		return advise(err, "backstay backups %s", id)
	}
	fmt.Fprintf(r.stdout, "Service instance %s is there, with the guid %s.\n", name, job.Resource)
	return nil
}

// standing is for whoever does not wait any longer for an instance that was accepted.
func standing(name string) error {
	return advise(fmt.Errorf("%[1]s is not there yet, and is made all the same: \"cf service %[1]s\" in its space shows "+
		"how it comes along, and \"cf delete-service %[1]s\" there withdraws it", name), "cf service %s", name)
}

// formerly is where an instance is, or was when it was deleted, and its plan as its broker knows it.
type formerly struct {
	id      backstay.InstanceID
	space   backstay.SpaceID
	service backstay.ServiceID
	plan    backstay.ServicePlanID
}

func (r restorer) find(ctx context.Context, id backstay.InstanceID) (formerly, error) {
	in, err := r.store.Broker().Instance(ctx, id)
	if err == nil {
		return formerly{id, in.SpaceID, in.ServiceID, in.PlanID}, nil
	}
	if backstay.KindOf(err) != backstay.NotFound {
		return formerly{}, err
	}
	deleted, err := r.store.Broker().Archive(ctx, id)
	return formerly{id, deleted.SpaceID, deleted.ServiceID, deleted.PlanID}, backupsAdvised(err)
}

// space finds the space that is named as ORG/SPACE, or if none is named the one that the instance is or was in.
func (r restorer) space(ctx context.Context, was formerly, named string) (backstay.SpaceID, error) {
	filter := market.SpaceFilter{IDs: []backstay.SpaceID{was.space}}
	if named != "" {
		organization, space, ok := strings.Cut(named, "/")
		if !ok {
			return "", usagef("--to %q is not ORG/SPACE.", named)
		}
		orgs, err := r.store.Organizations(ctx, market.OrganizationFilter{Names: []string{organization}})
		if err != nil {
			return "", err
		}
		filter = market.SpaceFilter{Names: []string{space}, OrganizationIDs: []backstay.OrganizationID{}}
		for _, o := range orgs.Items {
			filter.OrganizationIDs = append(filter.OrganizationIDs, o.ID)
		}
	}
	spaces, err := r.store.Spaces(ctx, filter)
	switch {
	case err != nil:
		return "", err
	case len(spaces.Items) > 0:
		return spaces.Items[0].ID, nil
	case named != "":
		return "", advise(backstay.Errorf(backstay.NotFound, "There is no space %s.", named), "cf spaces")
	}
	return "", advise(backstay.Errorf(backstay.NotFound, "The space that service instance %s was in is gone.", was.id),
		"backstay restore %s --as NAME --to ORG/SPACE", was.id)
}

// plan finds the plan of that name of the instance's service, or if none is named the one that the instance has or had.
func (r restorer) plan(ctx context.Context, was formerly, name string) (backstay.PlanID, error) {
	offerings, err := r.market.Offerings(ctx, r.actor,
		market.OfferingFilter{BrokerIDs: []backstay.BrokerID{ownBroker.ID}})
	if err != nil {
		return "", err
	}
	filter := market.PlanFilter{OfferingIDs: []backstay.OfferingID{}}
	for _, o := range offerings.Items {
		if o.ServiceID == was.service {
			filter.OfferingIDs = append(filter.OfferingIDs, o.ID)
		}
	}
	if name != "" {
		filter.Names = []string{name}
	} else {
		filter.ServicePlanIDs = []backstay.ServicePlanID{was.plan}
	}
	plans, err := r.market.Plans(ctx, r.actor, filter)
	if err == nil && len(plans.Items) == 0 {
		err = advise(backstay.Errorf(backstay.NotFound, "The service of service instance %s has no plan %s.", was.id,
			cmp.Or(name, "such as it had; name one by --plan")), "cf marketplace")
	}
	if err != nil {
		return "", err
	}
	return plans.Items[0].ID, nil
}
