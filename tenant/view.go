package tenant

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// view is a broker as one client sees it: with the ids that its platform gives.
type view struct {
	registry *Registry
	tenant   Tenant
	address  string // from which it asks
}

var (
	_ backstay.Broker        = (*view)(nil)
	_ backstay.Admitter      = (*view)(nil)
	_ backstay.Watcher       = (*view)(nil)
	_ backstay.HealthTeller  = (*view)(nil)
	_ backstay.TroubleTeller = (*view)(nil)
	_ backstay.Overwriter    = (*view)(nil)
	_ backstay.Copier        = (*view)(nil)
	_ backstay.DrillHolder   = (*view)(nil)
)

func (v *view) broker() backstay.Broker { return v.registry.Broker }

// id is the broker's for something that the platform calls so.
func (v *view) id(noun, external string) string {
	space := uuid.MustParse(v.tenant.ID)
	return uuid.NewHash(sha256.New(), space, []byte(noun+"\x00"+external), 8).String()
}

func (v *view) instance(external backstay.InstanceID) backstay.InstanceID {
	return backstay.InstanceID(v.id("instance", string(external)))
}

func (v *view) binding(external backstay.BindingID) backstay.BindingID {
	return backstay.BindingID(v.id("binding", string(external)))
}

// place is where an instance is, in a space that no other client can name.
func (v *view) place(c backstay.Context) backstay.Context {
	c.OrganizationID = backstay.OrganizationID(v.id("organization", string(c.OrganizationID)))
	c.SpaceID = backstay.SpaceID(v.id("space", string(c.SpaceID)))
	return c
}

// cloudFoundry is a platform whose ids are all GUIDs.
const cloudFoundry = "cloudfoundry"

// parameters are those of a request, with the broker's ids for the instances that they name. Told by the platform's
// words is what the broker says of them. What can be no id there is left as it is, for the broker to refuse.
func (v *view) parameters(platform string, given json.RawMessage, words *words) json.RawMessage {
	r, ok := v.broker().(backstay.SourceRenamer)
	if !ok {
		return given
	}
	return r.RenameSources(given, func(external backstay.InstanceID) backstay.InstanceID {
		external, ok := known(platform, external)
		if !ok {
			return external
		}
		id := v.instance(external)
		words.add(string(id), string(external))
		return id
	})
}

// known is an instance as the platform calls it, in whatever case it was typed, if it can be called so there.
func known(platform string, external backstay.InstanceID) (backstay.InstanceID, bool) {
	if platform != cloudFoundry {
		return external, true
	}
	guid, err := uuid.Parse(string(external))
	if err != nil {
		return external, false
	}
	return backstay.InstanceID(guid.String()), true
}

// words are what a platform calls what the broker speaks of.
type words struct{ pairs []string }

func (v *view) words(in backstay.InstanceID) *words {
	w := &words{}
	w.add(string(v.instance(in)), string(in))
	return w
}

// plain is an id that can stand in a sentence.
var plain = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

func (w *words) add(id, external string) {
	if plain.MatchString(external) {
		w.pairs = append(w.pairs, id, external)
	}
}

func (w *words) in(sentence string) string { return strings.NewReplacer(w.pairs...).Replace(sentence) }

// err is an error in the platform's words.
func (w *words) err(err error) error {
	if err == nil || backstay.KindOf(err) == backstay.Internal {
		return err
	}
	told := backstay.Wrapf(err, backstay.KindOf(err), "%s", w.in(backstay.SentenceOf(err)))
	return backstay.WithFailure(told, backstay.FailureOf(err))
}

func (w *words) operation(op backstay.Operation) backstay.Operation {
	op.Description, op.Notice = w.in(op.Description), w.in(op.Notice)
	return op
}

// Catalog is the broker's.
func (v *view) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	return v.broker().Catalog(ctx)
}

// AdmitProvision refuses what the broker would, and an instance too many.
func (v *view) AdmitProvision(ctx context.Context, r backstay.ProvisionRequest) error {
	w := v.words(r.InstanceID)
	asked := v.provision(r, w)
	if err := v.hasRoom(ctx, asked.InstanceID); err != nil {
		return err
	}
	a, ok := v.broker().(backstay.Admitter)
	if !ok {
		return nil
	}
	return w.err(a.AdmitProvision(ctx, asked))
}

// hasRoom refuses an instance that Claim would refuse, likewise after looking for those that have ended.
func (v *view) hasRoom(ctx context.Context, id backstay.InstanceID) error {
	if v.tenant.Instances < v.tenant.MaxInstances {
		return nil
	}
	if err := v.registry.sweep(ctx, v.tenant); err != nil {
		return err
	}
	claims, err := v.registry.Store.Claims(ctx, v.tenant.ID, v.registry.Now().Add(claimSkew))
	known := slices.ContainsFunc(claims, func(c Claim) bool { return c.InstanceID == id })
	if err != nil || known || len(claims) < v.tenant.MaxInstances {
		return err
	}
	return TooMany(len(claims))
}

// provision is a request in the broker's words. The platform vouches for the copy of an instance of its own only: what
// it names is looked for among those.
func (v *view) provision(r backstay.ProvisionRequest, w *words) backstay.ProvisionRequest {
	space := r.Context.SpaceID
	r.InstanceID, r.Context = v.instance(r.InstanceID), v.place(r.Context)
	w.add(string(r.Context.SpaceID), string(space))
	r.Parameters = v.parameters(r.Context.Platform, r.Parameters, w)
	if r.CopyOf != "" {
		of, _ := known(r.Context.Platform, r.CopyOf)
		r.CopyOf = v.instance(of)
	}
	return r
}

// AdmitUpdate refuses what the broker would.
func (v *view) AdmitUpdate(ctx context.Context, r backstay.UpdateRequest) error {
	a, ok := v.broker().(backstay.Admitter)
	if !ok {
		return nil
	}
	w := v.words(r.InstanceID)
	return w.err(a.AdmitUpdate(ctx, v.update(r, w)))
}

func (v *view) update(r backstay.UpdateRequest, w *words) backstay.UpdateRequest {
	r.InstanceID, r.Context = v.instance(r.InstanceID), v.place(r.Context)
	r.Parameters = v.parameters(r.Context.Platform, r.Parameters, w)
	before := v.place(backstay.Context{OrganizationID: r.Previous.OrganizationID, SpaceID: r.Previous.SpaceID})
	r.Previous.OrganizationID, r.Previous.SpaceID = before.OrganizationID, before.SpaceID
	return r
}

// AdmitBind refuses what the broker would.
func (v *view) AdmitBind(ctx context.Context, r backstay.BindRequest) error {
	a, ok := v.broker().(backstay.Admitter)
	if !ok {
		return nil
	}
	return v.words(r.InstanceID).err(a.AdmitBind(ctx, v.bind(r)))
}

// Overwrites tells what the broker says of parameters.
func (v *view) Overwrites(ctx context.Context, parameters json.RawMessage) (bool, error) {
	o, ok := v.broker().(backstay.Overwriter)
	if !ok {
		return false, errSilent
	}
	return o.Overwrites(ctx, v.parameters("", parameters, &words{}))
}

func (v *view) bind(r backstay.BindRequest) backstay.BindRequest {
	r.InstanceID, r.BindingID, r.Context = v.instance(r.InstanceID), v.binding(r.BindingID), v.place(r.Context)
	return r
}

// Provision notes whose the instance is to be before the broker is asked for it: killed in between, it is a note of
// what never was, which is swept away.
func (v *view) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	w := v.words(r.InstanceID)
	var answer backstay.Provisioned
	err := step.Run(ctx, v.provisionSteps(r, v.provision(r, w), &answer)...)
	return answer, w.err(err)
}

func (v *view) provisionSteps(r, asked backstay.ProvisionRequest, answer *backstay.Provisioned) []step.Step {
	return []step.Step{
		{Name: "tenant.provision.claimed", Do: func(ctx context.Context) error { return v.claim(ctx, r, asked) }},
		{Name: "tenant.provision.asked", Do: func(ctx context.Context) (err error) {
			*answer, err = v.broker().Provision(ctx, asked)
			return err
		}},
		{Name: "tenant.provision.kept", Do: func(ctx context.Context) error { return v.keepClaim(ctx, r, asked) }},
	}
}

// keepClaim records once more whose an instance is that the broker knows by now: whoever asked for it meanwhile was
// told that there is none, and took the note away.
func (v *view) keepClaim(ctx context.Context, r, asked backstay.ProvisionRequest) error {
	err := v.registry.Store.Claim(ctx, v.newClaim(r, asked), backstay.Event{})
	if backstay.KindOf(err) == backstay.Unavailable {
		return nil // another one has its place meanwhile; it was granted, and is seen all the same
	}
	return err
}

func (v *view) newClaim(r, asked backstay.ProvisionRequest) Claim {
	return Claim{
		Tenant: v.tenant.ID, InstanceID: asked.InstanceID, ExternalID: string(r.InstanceID), CreatedAt: v.registry.Now(),
	}
}

// claim records that the client asks for an instance. If it has too many, those that have ended are looked for first.
func (v *view) claim(ctx context.Context, r, asked backstay.ProvisionRequest) error {
	c := v.newClaim(r, asked)
	e := v.instanceEvent("create", r.Call, r.InstanceID, r.Context, details{"service_plan": r.PlanID})
	err := v.registry.Store.Claim(ctx, c, e)
	if backstay.KindOf(err) != backstay.Unavailable {
		return err
	}
	if err := v.registry.sweep(ctx, v.tenant); err != nil {
		return err
	}
	return v.registry.Store.Claim(ctx, c, e)
}

// Update asks the broker for a change.
func (v *view) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	w := v.words(r.InstanceID)
	d := details{}
	if r.PlanID != "" {
		d["service_plan"] = r.PlanID
	}
	if m := r.MaintenanceInfo; m != nil {
		d["maintenance_info"] = details{"version": m.Version}
	}
	if err := v.record(ctx, v.instanceEvent("update", r.Call, r.InstanceID, r.Context, d)); err != nil {
		return backstay.Updated{}, err
	}
	answer, err := v.broker().Update(ctx, v.update(r, w))
	return answer, w.err(err)
}

// Deprovision asks the broker to end an instance.
func (v *view) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	w := v.words(r.InstanceID)
	var answer backstay.Deprovisioned
	err := step.Run(ctx, v.deprovisionSteps(r, &answer)...)
	if err == nil && !answer.Async {
		err = v.registry.Store.Release(ctx, v.instance(r.InstanceID))
	}
	return answer, w.err(v.released(ctx, v.instance(r.InstanceID), err))
}

func (v *view) deprovisionSteps(r backstay.DeprovisionRequest, answer *backstay.Deprovisioned) []step.Step {
	return []step.Step{
		{Name: "tenant.deprovision.recorded", Do: func(ctx context.Context) error {
			return v.record(ctx, v.instanceEvent("delete", r.Call, r.InstanceID, backstay.Context{}, details{}))
		}},
		{Name: "tenant.deprovision.asked", Do: func(ctx context.Context) (err error) {
			r.InstanceID = v.instance(r.InstanceID)
			*answer, err = v.broker().Deprovision(ctx, r)
			return err
		}},
	}
}

// StepNames lists the steps of requests that are more than one: where a process may die in the middle.
func StepNames() []string {
	v := &view{}
	return append(step.Names(v.provisionSteps(backstay.ProvisionRequest{}, backstay.ProvisionRequest{}, nil)),
		step.Names(v.deprovisionSteps(backstay.DeprovisionRequest{}, nil))...)
}

// released is err, and forgets an instance that the broker does not know.
func (v *view) released(ctx context.Context, id backstay.InstanceID, err error) error {
	if backstay.KindOf(err) != backstay.NotFound {
		return err
	}
	if wrong := v.registry.Store.Release(ctx, id); wrong != nil {
		return wrong
	}
	return err
}

// LastOperation tells how an operation comes along.
func (v *view) LastOperation(ctx context.Context, r backstay.LastOperationRequest) (backstay.Operation, error) {
	w := v.words(r.InstanceID)
	r.InstanceID = v.instance(r.InstanceID)
	op, err := v.broker().LastOperation(ctx, r)
	return w.operation(op), w.err(v.released(ctx, r.InstanceID, err))
}

// FetchInstance tells what an instance is.
func (v *view) FetchInstance(
	ctx context.Context, r backstay.FetchInstanceRequest,
) (backstay.FetchedInstance, error) {
	w := v.words(r.InstanceID)
	r.InstanceID = v.instance(r.InstanceID)
	f, err := v.broker().FetchInstance(ctx, r)
	if f.Parameters != nil {
		f.Parameters = json.RawMessage(w.in(string(f.Parameters)))
	}
	return f, w.err(err)
}

// Bind asks the broker for credentials.
func (v *view) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	e := v.bindingEvent("start_create", r.Call, r.InstanceID, r.BindingID, details{"app_guid": r.AppID})
	if err := v.record(ctx, e); err != nil {
		return backstay.Bound{}, err
	}
	answer, err := v.broker().Bind(ctx, v.bind(r))
	return answer, v.bindingWords(r.InstanceID, r.BindingID).err(err)
}

func (v *view) bindingWords(in backstay.InstanceID, id backstay.BindingID) *words {
	w := v.words(in)
	w.add(string(v.binding(id)), string(id))
	return w
}

// Unbind asks the broker to end a binding.
func (v *view) Unbind(ctx context.Context, r backstay.UnbindRequest) (backstay.Unbound, error) {
	if err := v.record(ctx, v.bindingEvent("start_delete", r.Call, r.InstanceID, r.BindingID, details{})); err != nil {
		return backstay.Unbound{}, err
	}
	w := v.bindingWords(r.InstanceID, r.BindingID)
	r.InstanceID, r.BindingID = v.instance(r.InstanceID), v.binding(r.BindingID)
	answer, err := v.broker().Unbind(ctx, r)
	return answer, w.err(err)
}

// FetchBinding tells a binding, with its credentials: nobody is told them of whom that is not recorded.
func (v *view) FetchBinding(ctx context.Context, r backstay.FetchBindingRequest) (backstay.FetchedBinding, error) {
	w := v.bindingWords(r.InstanceID, r.BindingID)
	e := v.bindingEvent("show", r.Call, r.InstanceID, r.BindingID, details{})
	r.InstanceID, r.BindingID = v.instance(r.InstanceID), v.binding(r.BindingID)
	f, err := v.broker().FetchBinding(ctx, r)
	if err != nil {
		return backstay.FetchedBinding{}, w.err(err)
	}
	if err := v.record(ctx, e); err != nil {
		return backstay.FetchedBinding{}, err
	}
	return f, nil
}

// LastBindingOperation tells how an operation on a binding comes along.
func (v *view) LastBindingOperation(
	ctx context.Context, r backstay.LastBindingOperationRequest,
) (backstay.Operation, error) {
	w := v.bindingWords(r.InstanceID, r.BindingID)
	r.InstanceID, r.BindingID = v.instance(r.InstanceID), v.binding(r.BindingID)
	op, err := v.broker().LastBindingOperation(ctx, r)
	return w.operation(op), w.err(err)
}
