package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/wait"
)

var copyUsage = `Usage: backstay copy INSTANCE --to SPACE --as NAME [--plan PLAN] [FLAGS]
       backstay copy INSTANCE --to SPACE --consent [FLAGS]

Copies a service instance of the space that cf targets into another space, of any organization, for whoever is logged in
with cf and has the role SpaceDeveloper in both. INSTANCE is a name, or a guid; SPACE is ORG/SPACE, or a guid. The
copy has logins, a certificate and windows of its own, and the same plan unless --plan names another one of the service.

--consent is for a developer of this space alone. It makes nothing: it says yes to one copy in SPACE, and shows what a
developer there types. "cf space NAME --guid" tells them the guid of a space that you do not see.

Both spaces have an audit event of it. The copy has the data of now, or

` + originUsage + "\n" + dataUsage

func copyInstance(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("copy", flag.ContinueOnError)
	data := c.dataFlags(fs)
	origin, consent := addOrigin(fs), fs.Bool("consent", false, "")
	to, name, plan := fs.String("to", "", ""), fs.String("as", "", ""), fs.String("plan", "", "")
	operands, err := parseOperands(fs, args, "a service instance")
	if err != nil {
		return err
	}
	if *to == "" || (*name == "") != *consent {
		return usagef("copy wants --to SPACE, and either --as NAME or --consent.")
	}
	dir, err := data()
	if err != nil {
		return err
	}
	k := copier{c, c.cfCLI(dir)}
	source, err := k.find(ctx, operands[0])
	if err != nil {
		return err
	}
	parameters, err := origin.parameters(source.GUID, cloneOf)
	if err != nil {
		return err
	}
	space, err := k.spaceNamed(ctx, *to)
	if err != nil {
		return err
	}
	offer, err := k.offer(ctx, source, *plan)
	if err != nil {
		return err
	}
	if *consent {
		return k.consent(ctx, source, space, offer, parameters)
	}
	return k.copy(ctx, source, wantedCopy{*name, space, offer, parameters})
}

// copier copies with the login that cf keeps.
type copier struct {
	*cli
	cf cfCLI
}

// copySource is a service instance as the API shows it.
type copySource struct {
	GUID          string
	Name          string
	Relationships struct {
		Plan reference `json:"service_plan"`
	}
	LastOperation struct{ Type, State, Description string } `json:"last_operation"`
}

// reference is how the API names another resource.
type reference struct {
	Data struct {
		GUID string `json:"guid"`
	} `json:"data"`
}

func refer(guid string) (r reference) {
	r.Data.GUID = guid
	return r
}

// find returns the instance of that guid, or of that name in the targeted space.
func (k copier) find(ctx context.Context, instance string) (copySource, error) {
	query := "guids=" + url.QueryEscape(instance)
	if uuid.Validate(instance) != nil {
		space, err := k.cf.space()
		if err != nil {
			return copySource{}, err
		}
		query = "names=" + escapedName(instance) + "&space_guids=" + url.QueryEscape(space)
	}
	found, err := firstOf[copySource](ctx, k.cf, "/v3/service_instances?"+query)
	switch {
	case err != nil:
		return copySource{}, err
	case found == nil:
		return copySource{}, advise(backstay.Errorf(backstay.NotFound,
			"There is no service instance %q that you see, in the space that cf targets.", instance), "cf services")
	case found.Relationships.Plan.Data.GUID == "":
		return copySource{}, advise(backstay.Errorf(backstay.Unsupported,
			"%s is a user-provided service instance, which has no data to copy.", found.Name), "cf services")
	}
	return *found, nil
}

// spaceNamed returns the guid of a space that is named as ORG/SPACE, or by that guid.
func (k copier) spaceNamed(ctx context.Context, name string) (string, error) {
	if uuid.Validate(name) == nil {
		return name, nil
	}
	organization, space, ok := strings.Cut(name, "/")
	if !ok {
		return "", usagef("--to %q is neither ORG/SPACE nor a guid.", name)
	}
	type named struct{ GUID string }
	org, err := firstOf[named](ctx, k.cf, "/v3/organizations?names="+escapedName(organization))
	if err != nil {
		return "", err
	}
	if org != nil {
		found, err := firstOf[named](ctx, k.cf,
			"/v3/spaces?names="+escapedName(space)+"&organization_guids="+url.QueryEscape(org.GUID))
		if err != nil {
			return "", err
		}
		if found != nil {
			return found.GUID, nil
		}
	}
	return "", advise(backstay.Errorf(backstay.NotFound, "There is no space %s that you see. Ask a manager there for the "+
		"role SpaceDeveloper, or a developer there for its guid.", name), "backstay copy INSTANCE --to GUID --consent")
}

// offered is a plan and the service that it belongs to.
type offered struct{ planGUID, plan, service string }

// offer finds the plan of that name in the instance's service, or the instance's own if none is named.
func (k copier) offer(ctx context.Context, source copySource, plan string) (offered, error) {
	type named struct{ GUID, Name string }
	var own struct {
		named
		Included struct {
			Offerings []named `json:"service_offerings"`
		}
	}
	path := "/v3/service_plans/" + source.Relationships.Plan.Data.GUID + "?include=service_offering"
	if err := k.cf.get(ctx, path, &own); err != nil {
		return offered{}, err
	}
	if len(own.Included.Offerings) == 0 {
		return offered{}, fmt.Errorf("the API does not tell the service of %s", source.Name)
	}
	service := own.Included.Offerings[0]
	if plan == "" {
		return offered{own.GUID, own.Name, service.Name}, nil
	}
	found, err := firstOf[named](ctx, k.cf,
		"/v3/service_plans?names="+escapedName(plan)+"&service_offering_guids="+url.QueryEscape(service.GUID))
	if err != nil {
		return offered{}, err
	}
	if found == nil {
		return offered{}, advise(backstay.Errorf(backstay.NotFound, "%s has no plan %q.", service.Name, plan),
			"cf marketplace -e %s", service.Name)
	}
	return offered{found.GUID, found.Name, service.Name}, nil
}

// mark says yes to one copy of an instance in a space, or to none if that is nil.
func (k copier) mark(ctx context.Context, source copySource, space *string) error {
	labels := map[string]any{"metadata": map[string]any{"labels": map[string]*string{backstay.CopyLabel: space}}}
	err := k.cf.send(ctx, "PATCH", "/v3/service_instances/"+source.GUID, labels)
	if err != nil {
		return fmt.Errorf("consent to a copy of %s: %w", source.Name, err)
	}
	return nil
}

func (k copier) consent(
	ctx context.Context, source copySource, space string, offer offered, parameters json.RawMessage,
) error {
	if err := k.mark(ctx, source, &space); err != nil {
		return err
	}
	fmt.Fprintf(k.stdout, "One copy of %s may be made in space %s. A developer there types:\n\n"+
		"  cf create-service %s %s NAME -c '%s'\n\nUntil that is done, the consent is taken back by:\n\n"+
		"  cf unset-label service-instance %s %s\n",
		source.Name, space, offer.service, offer.plan, parameters, source.Name, backstay.CopyLabel)
	return nil
}

// wantedCopy is what is to be made.
type wantedCopy struct {
	name, space string
	offer       offered
	parameters  json.RawMessage
}

// undoPatience is how long it may take to take back a consent that was not used.
const undoPatience = 10 * time.Second

// copy consents, as a developer of the source, and asks for the copy, as one of the target. What is refused leaves no
// consent.
func (k copier) copy(ctx context.Context, source copySource, w wantedCopy) error {
	if err := k.mark(ctx, source, &w.space); err != nil {
		return err
	}
	err := k.cf.send(ctx, "POST", "/v3/service_instances", map[string]any{
		"type": "managed", "name": w.name, "parameters": w.parameters, "relationships": map[string]reference{
			"space": refer(w.space), "service_plan": refer(w.offer.planGUID),
		},
	})
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
		defer cancel()
		return errors.Join(err, k.mark(undo, source, nil))
	}
	if err = k.await(ctx, w); err != nil && ctx.Err() != nil {
		return standing(w.name)
	}
	return err
}

// await returns when the copy is there, and says meanwhile how it comes along.
func (k copier) await(ctx context.Context, w wantedCopy) error {
	path := "/v3/service_instances?names=" + escapedName(w.name) + "&space_guids=" + url.QueryEscape(w.space)
	said := ""
	return wait.Until(ctx, wait.Every(time.Second), func() (again bool, err error) {
		made, err := firstOf[copySource](ctx, k.cf, path)
		if err != nil {
			return false, err
		}
		if made == nil {
			return false, fmt.Errorf("service instance %s was deleted", w.name)
		}
		switch op := made.LastOperation; {
		case op.State == "failed":
			return false, advise(errors.New(op.Description), "cf delete-service %s", w.name)
		case op.State == "succeeded":
			fmt.Fprintf(k.stdout, "Service instance %s is there, with the guid %s.\n", w.name, made.GUID)
			return false, nil
		case op.Description != said:
			said = op.Description
			fmt.Fprintln(k.stdout, said)
		}
		return true, nil
	})
}

// firstOf reads the first resource of a list; nil if there is none.
func firstOf[T any](ctx context.Context, cf cfCLI, path string) (*T, error) {
	var found struct{ Resources []T }
	if err := cf.get(ctx, path, &found); err != nil || len(found.Resources) == 0 {
		return nil, err
	}
	return &found.Resources[0], nil
}
