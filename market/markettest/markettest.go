// Package markettest helps to test those who stand on the market: [NewWith] is a whole market on a real
// store, [RunStore] the contract of its store as tests.
package markettest

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/uaa"
)

// Admin may do everything.
var Admin = backstay.Actor{
	UserID:   "00000000-0000-4000-8000-0000000000aa",
	Username: "admin",
	Role:     backstay.Administrator,
}

// Robot is a client that may do nothing yet.
var Robot = backstay.Actor{UserID: "robot", Username: "robot", Client: true}

// Broker is what the one broker of most tests is called: the one that a new database knows already.
var Broker = backstay.ServiceBroker{ID: "2f0b5b39-6a0e-4c3d-9f57-8c2c1f3b7a10", Name: "backstay"}

// Seller is a broker under the name that the market knows it by. One with a URL is not known to it until somebody
// registers a broker there.
type Seller struct {
	backstay.ServiceBroker
	Broker backstay.Broker
}

// NewWith returns a market on a database of its own, with its jobs running, before a broker that it follows. It ends
// with the test.
func NewWith(t testing.TB, b backstay.Broker) *market.Market {
	t.Helper()
	return NewAt(t, b, testkit.Postgres(t))
}

// NewAt is NewWith on the database that dsn names.
func NewAt(t testing.TB, b backstay.Broker, dsn string) *market.Market {
	t.Helper()
	return NewAmong(t, dsn, Seller{Broker, b})
}

// NewAmong is NewAt before several brokers.
func NewAmong(t testing.TB, dsn string, sellers ...Seller) *market.Market {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	store := openStore(t, dsn)
	m := &market.Market{Store: store, Brokers: market.Brokers{}, Key: seal.Key{1}, Log: log}
	registered := map[string]backstay.Broker{}
	m.Open = func(b backstay.ServiceBroker, _ backstay.BrokerLogin) (backstay.Broker, error) {
		if found, ok := registered[b.URL]; ok {
			return found, nil
		}
		return nil, backstay.Errorf(backstay.Unavailable, "The service broker could not be reached: %s", b.URL)
	}
	for _, s := range sellers {
		if s.URL != "" {
			registered[s.URL] = s.Broker
			continue
		}
		m.Brokers[s.ID] = s.Broker
		must(t, m.KeepCatalog(t.Context(), s.ServiceBroker))
	}
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return store.RunJobs(ctx, state.Runners{Market: m.Work, Broker: noBroker}) })
	g.Go(func() error { return m.Follow(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("run the market: %v", err)
		}
	})
	return m
}

func noBroker(context.Context, backstay.InstanceID, backstay.OperationKey, bool) error {
	return errors.New("this market's broker has no jobs in the store")
}

// OpenStore opens a migrated database of its own, with the user [Admin] and the client [Robot] in it.
func OpenStore(t testing.TB) *state.Store {
	t.Helper()
	return openStore(t, testkit.Postgres(t))
}

func openStore(t testing.TB, dsn string) *state.Store {
	t.Helper()
	store, err := state.Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	for _, by := range []backstay.Actor{Admin, Robot} {
		u := uaa.User{ID: by.UserID, Username: by.Username, Client: by.Client, Role: by.Role, PasswordHash: "none"}
		if err := store.AddUser(t.Context(), u, backstay.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	return store
}
