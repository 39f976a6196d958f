package market

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// BrokerStore keeps the brokers. The logins of those that somebody has registered arrive and leave sealed.
type BrokerStore interface {
	ServiceBrokers(ctx context.Context, f BrokerFilter) (List[backstay.ServiceBroker], error)
	// BrokerSecrets are the sealed login of a broker, nil for one that nobody registered, and the change of it that is
	// under way, nil for none.
	BrokerSecrets(ctx context.Context, id backstay.BrokerID) (login []byte, change *BrokerChange, err error)
	// AcceptBroker records a new broker, of which nothing is on sale yet.
	AcceptBroker(
		ctx context.Context, b backstay.ServiceBroker, login []byte, e backstay.Event, j backstay.Job,
	) error
	// AcceptBrokerChange records what a broker is to be changed to. It is Invalid while a job of the broker runs.
	AcceptBrokerChange(
		ctx context.Context, id backstay.BrokerID, c BrokerChange, e backstay.Event, j backstay.Job,
	) error
	// FinishBroker makes the change of a broker that is under way, if there is one, puts its offerings on sale as
	// KeepCatalog does (nil: they stay as they are), and completes the job.
	FinishBroker(
		ctx context.Context, id backstay.BrokerID, offerings []backstay.CatalogOffering,
		record func(CatalogChange) backstay.Event, j backstay.JobID,
	) error
	// FailBroker forgets the change of a broker that was under way, and ends the job.
	FailBroker(ctx context.Context, id backstay.BrokerID, j backstay.Job) error
	// AcceptBrokerDeletion is InUse while there are instances of the broker's, and Invalid while a job of it runs.
	AcceptBrokerDeletion(ctx context.Context, id backstay.BrokerID, j backstay.Job) error
	// RemoveBroker removes a broker with all that it offers, and completes the job if there is one. It is InUse while
	// there are instances of the broker's. An absent one is success, and no event.
	RemoveBroker(
		ctx context.Context, id backstay.BrokerID, record func(CatalogChange) backstay.Event, e backstay.Event,
		j *backstay.JobID,
	) error
}

// BrokerChange is what is to become of a broker; what is nil stays.
type BrokerChange struct {
	Name     *string
	URL      *string
	Login    []byte // sealed
	Metadata backstay.MetadataUpdate
}

// NewBroker asks for a broker to be registered.
type NewBroker struct {
	Name     string
	URL      string
	Login    backstay.BrokerLogin
	SpaceID  backstay.SpaceID // whose own it is to be; empty: the whole platform's
	Metadata backstay.MetadataUpdate
}

// BrokerUpdate changes what is not nil of a broker that somebody has registered.
type BrokerUpdate struct {
	Update
	URL   *string
	Login *backstay.BrokerLogin
}

// LogValue is the request without the password.
func (n NewBroker) LogValue() slog.Value { return backstay.RedactedValue(n) }

// LogValue is the update without the password.
func (u BrokerUpdate) LogValue() slog.Value { return backstay.RedactedValue(u) }

// Opener opens a broker that somebody has registered.
type Opener func(b backstay.ServiceBroker, l backstay.BrokerLogin) (backstay.Broker, error)

// broker returns the broker of that id: the one that is part of this program, or one that is opened as it was
// registered. One that the market knows and cannot ask now is Unavailable.
func (m *Market) broker(ctx context.Context, id backstay.BrokerID) (backstay.Broker, error) {
	if found, ok := m.Brokers[id]; ok {
		return found, nil
	}
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{IDs: []backstay.BrokerID{id}})
	b, err := single(l, err, "Service broker")
	if err != nil {
		return nil, err
	}
	sealed, _, err := m.Store.BrokerSecrets(ctx, id)
	if err != nil {
		return nil, err
	}
	return m.openBroker(b, sealed)
}

func (m *Market) openBroker(b backstay.ServiceBroker, sealed []byte) (backstay.Broker, error) {
	if sealed == nil || m.Open == nil {
		return nil, backstay.Errorf(backstay.Unavailable, "The service broker %s cannot be reached.", b.Name)
	}
	var login backstay.BrokerLogin
	if err := m.openJSON(loginContext(b.ID), sealed, &login); err != nil {
		return nil, err
	}
	return m.Open(b, login)
}

func loginContext(id backstay.BrokerID) string { return "broker/" + string(id) + "/login" }

// ServiceBrokers lists the brokers that the actor may see: those of spaces where they develop, or all.
func (m *Market) ServiceBrokers(
	ctx context.Context, actor backstay.Actor, f BrokerFilter,
) (List[backstay.ServiceBroker], error) {
	f.Viewer = viewer(actor)
	return m.Store.ServiceBrokers(ctx, f)
}

// ServiceBroker returns one broker.
func (m *Market) ServiceBroker(
	ctx context.Context, actor backstay.Actor, id backstay.BrokerID,
) (backstay.ServiceBroker, error) {
	l, err := m.ServiceBrokers(ctx, actor, BrokerFilter{IDs: []backstay.BrokerID{id}})
	return single(l, err, "Service broker")
}

// CreateBroker registers a broker: the whole platform's, which administrators do, or a space's own, which its
// developers do. The job asks the broker what it offers; nobody sees that until access is given to it.
func (m *Market) CreateBroker(ctx context.Context, actor backstay.Actor, n NewBroker) (backstay.Job, error) {
	at, err := m.permitNewBroker(ctx, actor, n.SpaceID)
	if err != nil {
		return backstay.Job{}, err
	}
	u := BrokerUpdate{Update: Update{&n.Name, n.Metadata}, URL: &n.URL, Login: &n.Login}
	if err := u.check(); err != nil {
		return backstay.Job{}, err
	}
	b := backstay.ServiceBroker{
		ID: backstay.BrokerID(newID()), Name: n.Name, URL: n.URL, SpaceID: n.SpaceID, Metadata: n.Metadata.Applied(),
	}
	sealed, err := m.sealJSON(loginContext(b.ID), n.Login)
	if err != nil {
		return backstay.Job{}, err
	}
	asked := u.asked()
	if n.SpaceID != "" {
		asked["space"] = n.SpaceID
	}
	j := m.newJob(actor, createBroker, string(b.ID), backstay.JobProcessing)
	return j, m.Store.AcceptBroker(ctx, b, sealed, brokerEvent(actor, "create", b, at, request(asked)), j)
}

func (m *Market) permitNewBroker(
	ctx context.Context, actor backstay.Actor, space backstay.SpaceID,
) (at place, err error) {
	if space == "" {
		return place{}, m.permit(ctx, actor, place{}, Administrators)
	}
	if err := m.requireFlag(ctx, actor, spaceBrokers, admin); err != nil {
		return place{}, err
	}
	return m.permitInSpace(ctx, actor, space, SpaceDevelopers)
}

// check refuses what no broker can be registered with.
func (u BrokerUpdate) check() error {
	if err := u.Update.check(); err != nil {
		return err
	}
	if u.URL != nil {
		if err := checkBrokerURL(*u.URL); err != nil {
			return err
		}
	}
	if u.Login != nil && (u.Login.Username == "" || u.Login.Password == "") {
		return backstay.Errorf(backstay.Invalid, "Authentication credentials must have a username and a password")
	}
	return nil
}

// maxURL is how long the address of a broker may be.
const maxURL = 2000

// checkBrokerURL refuses what is no address of a broker, in Cloud Controller's words.
func checkBrokerURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(text) > maxURL:
		return backstay.Errorf(backstay.Invalid, "Url must be a valid url")
	case u.User != nil:
		return backstay.Errorf(backstay.Invalid, "Url must not contain authentication")
	case u.RawQuery != "" || u.Fragment != "":
		return backstay.Errorf(backstay.Invalid, "Url must not contain a query or a fragment")
	}
	return nil
}

// asked is the update as an event shows it.
func (u BrokerUpdate) asked() details {
	asked := u.Update.details()
	if u.URL != nil {
		asked["url"] = *u.URL
	}
	if u.Login != nil {
		asked["authentication"] = details{
			"type": "basic", "credentials": details{"username": u.Login.Username, "password": hidden},
		}
	}
	return asked
}

func brokerEvent(
	actor backstay.Actor, verb string, b backstay.ServiceBroker, at place, d details,
) backstay.Event {
	return newEvent(
		actor, "service_broker."+verb, backstay.Target{ID: string(b.ID), Type: "service_broker", Name: b.Name}, at, d,
	)
}

// brokerFor returns a broker and its place. It is NotFound if the actor may not see the broker, and Forbidden if they
// may not change it.
func (m *Market) brokerFor(
	ctx context.Context, actor backstay.Actor, id backstay.BrokerID,
) (b backstay.ServiceBroker, at place, err error) {
	if b, err = m.ServiceBroker(ctx, actor, id); err != nil {
		return b, at, err
	}
	if b.SpaceID == "" {
		return b, at, m.permit(ctx, actor, place{}, Administrators)
	}
	at, err = m.permitIn(ctx, actor, b.SpaceID, SpaceDevelopers)
	return b, at, err
}

// checkRegistered refuses to change a broker that nobody has registered.
func checkRegistered(b backstay.ServiceBroker) error {
	if b.URL != "" {
		return nil
	}
	return backstay.Errorf(backstay.Invalid,
		"The service broker %s is a part of Backstay: it has no address and no password, and can be neither renamed nor "+
			"deleted.", b.Name)
}

// UpdateBroker changes a broker. Where more than its metadata is to change there is a job for that, which asks it anew
// what it offers if it is to be asked in another way; otherwise the change is done at once and the job's ID is empty.
func (m *Market) UpdateBroker(
	ctx context.Context, actor backstay.Actor, id backstay.BrokerID, u BrokerUpdate,
) (backstay.ServiceBroker, backstay.Job, error) {
	b, at, err := m.brokerFor(ctx, actor, id)
	if err != nil {
		return b, backstay.Job{}, err
	}
	if err := u.check(); err != nil {
		return b, backstay.Job{}, err
	}
	e := brokerEvent(actor, "update", b, at, request(u.asked()))
	if u.Name == nil && u.URL == nil && u.Login == nil {
		if err := m.updateMetadata(ctx, OfBroker, string(id), u.Metadata, e); err != nil {
			return b, backstay.Job{}, err
		}
		b, err = m.ServiceBroker(ctx, actor, id)
		return b, backstay.Job{}, err
	}
	if err := checkRegistered(b); err != nil {
		return b, backstay.Job{}, err
	}
	c := BrokerChange{Name: u.Name, URL: u.URL, Metadata: u.Metadata}
	if u.Login != nil {
		if c.Login, err = m.sealJSON(loginContext(id), *u.Login); err != nil {
			return b, backstay.Job{}, err
		}
	}
	j := m.newJob(actor, updateBroker, string(id), backstay.JobProcessing)
	return b, j, m.Store.AcceptBrokerChange(ctx, id, c, e, j)
}

// ErrBrokerInUse is what is joined to the refusal to delete a broker that has instances.
var ErrBrokerInUse = errors.New("the broker has instances")

// BrokerInUse refuses to delete a broker that has instances, in Cloud Controller's words.
func BrokerInUse(name string) error {
	return errors.Join(backstay.Errorf(backstay.InUse,
		"Can not remove brokers that have associated service instances: %s", name), ErrBrokerInUse)
}

// DeleteBroker accepts the end of a broker that has no instances: nothing of what it offers is known any more.
func (m *Market) DeleteBroker(
	ctx context.Context, actor backstay.Actor, id backstay.BrokerID,
) (backstay.Job, error) {
	b, at, err := m.brokerFor(ctx, actor, id)
	if err == nil {
		err = checkRegistered(b)
	}
	if err != nil {
		return backstay.Job{}, err
	}
	j := m.newJob(actor, deleteBroker, string(id), backstay.JobProcessing)
	j.Completed = brokerEvent(actor, "delete", b, at, nil)
	return j, m.Store.AcceptBrokerDeletion(ctx, id, j)
}

// brokerSteps ask a broker what it offers, as it is or as it is to be, and record both.
func brokerSteps(name string) func(m *Market, j backstay.Job) []step.Step {
	return func(m *Market, j backstay.Job) []step.Step {
		return []step.Step{{Name: name, Do: func(ctx context.Context) error { return m.synchronize(ctx, j) }}}
	}
}

func (m *Market) synchronize(ctx context.Context, j backstay.Job) error {
	id := backstay.BrokerID(j.Resource)
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{IDs: []backstay.BrokerID{id}})
	b, err := single(l, err, "Service broker")
	if err != nil {
		return err
	}
	login, change, err := m.Store.BrokerSecrets(ctx, id)
	if err != nil {
		return err
	}
	asks := change == nil
	if change != nil {
		asks = change.URL != nil || change.Login != nil
		login = change.applied(&b, login)
	}
	var offerings []backstay.CatalogOffering
	if asks {
		opened, err := m.openBroker(b, login)
		if err != nil {
			return err
		}
		if offerings, err = m.registeredCatalog(ctx, b, opened, callOf(j)); err != nil {
			return err
		}
	}
	by := brokerActor(b)
	return m.Store.FinishBroker(ctx, id, offerings, func(c CatalogChange) backstay.Event { return c.event(by) }, j.ID)
}

// applied has a broker be as the change has it, and returns its sealed login.
func (c BrokerChange) applied(b *backstay.ServiceBroker, login []byte) []byte {
	if c.Name != nil {
		b.Name = *c.Name
	}
	if c.URL != nil {
		b.URL = *c.URL
	}
	if c.Login != nil {
		return c.Login
	}
	return login
}

// registeredCatalog is what a broker that somebody has registered offers. It is refused if anything about it is wrong,
// and nobody sees of it what is new until access is given.
func (m *Market) registeredCatalog(
	ctx context.Context, b backstay.ServiceBroker, opened backstay.Broker, call backstay.Call,
) ([]backstay.CatalogOffering, error) {
	offerings, err := m.soundCatalog(ctx, b, opened, call)
	if err != nil {
		return nil, fmt.Errorf("read catalog of broker %s: %w", b.ID, err)
	}
	for i := range offerings {
		offerings[i].Private = true
	}
	return offerings, nil
}

func (m *Market) failBroker(ctx context.Context, j backstay.Job, _ error) error {
	return m.Store.FailBroker(ctx, backstay.BrokerID(j.Resource), j)
}

func (m *Market) deleteBrokerSteps(j backstay.Job) []step.Step {
	return []step.Step{{Name: "market.delete-broker.recorded", Do: func(ctx context.Context) error {
		id := backstay.BrokerID(j.Resource)
		err := m.Store.RemoveBroker(ctx, id, m.removedBy(j.By), backstay.Event{}, &j.ID)
		if errors.Is(err, ErrBrokerInUse) { // an instance has come in between; to try again would not help
			return backstay.Errorf(backstay.Invalid, "%s", backstay.SentenceOf(err))
		}
		return err
	}}}
}

// removedBy makes the events of offerings and plans that go with their broker.
func (m *Market) removedBy(actor backstay.Actor) func(CatalogChange) backstay.Event {
	return func(c CatalogChange) backstay.Event { return c.event(actor) }
}

// endSpaceBrokers removes the brokers that are a space's own, which has no instances any more.
func (m *Market) endSpaceBrokers(ctx context.Context, j backstay.Job, at place) error {
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{SpaceIDs: []backstay.SpaceID{at.space}})
	if err != nil {
		return err
	}
	for _, b := range l.Items {
		e := brokerEvent(j.By, "delete", b, at, nil)
		if err := m.Store.RemoveBroker(ctx, b.ID, m.removedBy(j.By), e, nil); err != nil {
			return err
		}
	}
	return nil
}
