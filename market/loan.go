package market

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"time"

	"github.com/backstay/backstay"
)

// Endpoint returns the address at which the instance of a binding serves, if the actor may bind the instance. Open
// tunnels ask for it every second, so it costs one query.
func (m *Market) Endpoint(
	ctx context.Context, actor backstay.Actor, id backstay.BindingID,
) (backstay.Endpoint, error) {
	a, err := m.Store.BindingAccess(ctx, id, actor.UserID, viewer(actor))
	if err != nil {
		return backstay.Endpoint{}, err
	}
	if err := permitWith(actor, a.Roles, SpaceDevelopers); err != nil {
		return backstay.Endpoint{}, err
	}
	if a.Binding.InstanceType == backstay.UserProvided { // whose credentials name any place that our machine reaches
		return backstay.Endpoint{}, backstay.Errorf(backstay.Unsupported,
			"There are no tunnels to user-provided service instances.")
	}
	c, err := m.openCredentials(id, a.Sealed)
	if err != nil {
		return backstay.Endpoint{}, err
	}
	e, ok := endpointIn(c)
	if !ok {
		return e, backstay.Errorf(backstay.Unsupported, "The credentials name no host and port to connect to.")
	}
	if _, ours := m.Brokers[a.BrokerID]; ours {
		return e, nil
	}
	return m.allowed(ctx, e)
}

// allowed returns the endpoint that the credentials of a broker elsewhere name, by its address: whoever runs that
// broker could have a tunnel lead to any place that our machine reaches, so there is none but into networks that an
// operator allows.
func (m *Market) allowed(ctx context.Context, e backstay.Endpoint) (backstay.Endpoint, error) {
	refused := backstay.Errorf(backstay.Unsupported, "There are no tunnels to where the credentials of this service "+
		"instance lead: its service broker is not a part of Backstay. An operator allows networks with tunnel-networks.")
	if len(m.TunnelNetworks) == 0 {
		return e, refused
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", e.Host)
	if err != nil {
		return e, backstay.Wrapf(err, backstay.Unavailable, "The address of the service instance was not found.")
	}
	for _, found := range addresses {
		address := found.Unmap()
		for _, network := range m.TunnelNetworks {
			if network.Contains(address) {
				return backstay.Endpoint{Host: address.String(), Port: e.Port}, nil
			}
		}
	}
	return e, refused
}

// endpointIn finds an endpoint in credentials: in the entries that services use for host and port, or in their
// uri.
func endpointIn(c backstay.Credentials) (backstay.Endpoint, bool) {
	host, _ := c["host"].(string)
	if host == "" {
		host, _ = c["hostname"].(string)
	}
	var port string
	switch p := c["port"].(type) {
	case string:
		port = p
	case json.Number: // as credentials are read
		port = p.String()
	}
	if host == "" || port == "" {
		uri, _ := c["uri"].(string)
		u, err := url.Parse(uri)
		if err != nil {
			return backstay.Endpoint{}, false
		}
		host, port = u.Hostname(), u.Port()
	}
	number, err := net.LookupPort("tcp", port)
	return backstay.Endpoint{Host: host, Port: number}, err == nil && host != "" && number > 0
}

// lendPatience is how long the making of a lent key may take.
const lendPatience = 30 * time.Second

// Lend makes a service key that ends by itself, and waits for it.
func (m *Market) Lend(
	ctx context.Context, actor backstay.Actor, l backstay.Loan,
) (backstay.BindingID, backstay.Credentials, error) {
	b, j, err := m.CreateBinding(ctx, actor, NewBinding{
		Type: backstay.KeyBinding, Name: l.Name, InstanceID: l.InstanceID, Parameters: l.Parameters,
		ExpiresAt: l.Until,
	})
	if err != nil {
		return "", nil, err
	}
	if err := m.awaitComplete(ctx, j); err != nil {
		if _, failed := m.DeleteBinding(ctx, actor, b.ID); failed != nil { // nobody will ask for it
			m.Log.Warn("a key that was not made stays until its time is over", "binding", b.ID, "error", failed)
		}
		return "", nil, err
	}
	c, err := m.Credentials(ctx, actor, b.ID)
	return b.ID, c, err
}

func (m *Market) awaitComplete(ctx context.Context, j backstay.Job) error {
	j, err := m.AwaitJob(ctx, j.ID, lendPatience)
	switch {
	case err != nil:
		return err
	case j.State == backstay.JobFailed:
		return backstay.Errorf(j.Kind, "%s", j.Sentence)
	case j.State != backstay.JobComplete:
		return backstay.Errorf(backstay.Unavailable, "The service did not answer in time. Try again.")
	}
	return nil
}

// Hold keeps lent keys from ending before that time. Other bindings do not end by themselves anyway.
func (m *Market) Hold(ctx context.Context, ids []backstay.BindingID, until time.Time) error {
	return m.Store.HoldBindings(ctx, ids, until)
}

// Return ends a lent key, and waits until it has ended.
func (m *Market) Return(ctx context.Context, actor backstay.Actor, id backstay.BindingID) error {
	j, err := m.DeleteBinding(ctx, actor, id)
	if err != nil {
		return err
	}
	return m.awaitComplete(ctx, j)
}

// Began records that the actor has begun to use a tunnel to the instance of a binding. What it returns records the
// end.
func (m *Market) Began(
	ctx context.Context, actor backstay.Actor, id backstay.BindingID,
) (ended func(context.Context) error, err error) {
	b, at, err := m.bindingFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return nil, err
	}
	about := details{"service_instance": b.InstanceID}
	if err := m.Store.RecordEvent(ctx, bindingEvent(actor, "tunnel_start", b, at, about)); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return m.Store.RecordEvent(ctx, bindingEvent(actor, "tunnel_end", b, at, about))
	}, nil
}

// expiryInterval is how often the market looks for bindings whose time is over.
const expiryInterval = time.Second

// EndExpired ends bindings whose time is over, for as long as ctx lasts.
func (m *Market) EndExpired(ctx context.Context) error {
	ticker := time.NewTicker(expiryInterval)
	defer ticker.Stop()
	for {
		if err := m.endExpired(ctx, m.now()); err != nil && ctx.Err() == nil {
			m.Log.Warn("bindings whose time is over were not ended; it will be tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (m *Market) endExpired(ctx context.Context, now time.Time) error {
	expired, err := m.Store.ExpiredBindings(ctx, now)
	if err != nil {
		return err
	}
	for _, b := range expired {
		err := m.endBinding(ctx, b)
		if k := backstay.KindOf(err); err != nil && k != backstay.Busy && k != backstay.NotFound {
			return err
		}
	}
	return nil
}

// endBinding accepts the end of a binding that nobody has asked for: its time is over.
func (m *Market) endBinding(ctx context.Context, b backstay.Binding) error {
	at, err := m.placeOf(ctx, b.SpaceID)
	if err != nil {
		return err
	}
	var nobody backstay.Actor
	j := m.newJob(nobody, deleteBinding, string(b.ID), backstay.JobPolling)
	j.Completed = bindingEvent(nobody, "delete", b, at, nil)
	return m.Store.AcceptBindingDeletion(
		ctx, b.ID, m.inProgress(backstay.Delete), bindingEvent(nobody, "start_delete", b, at, nil), j,
	)
}
