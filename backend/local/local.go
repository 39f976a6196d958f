package local

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/wire"
)

// Backend speaks to a keeper. It is safe for concurrent use. While no keeper answers, as between a
// crash of one and the start of the next, calls wait up to half a minute.
type Backend struct {
	client   *http.Client
	patience time.Duration // that a call has with a keeper that does not answer
}

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Archive = (*Backend)(nil)
	_ backend.Gauge   = (*Backend)(nil)
)

// New returns the backend of the keeper that listens, or will, on the Unix socket at path.
func New(socket string) *Backend {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 16, IdleConnTimeout: 10 * time.Second}
	return &Backend{client: &http.Client{Transport: transport}, patience: 30 * time.Second}
}

func (b *Backend) Inventory(ctx context.Context) (i backend.Inventory, err error) {
	return i, b.call(ctx, "GET", wire.InventoryPath, nil, &i)
}

func (b *Backend) Admit(ctx context.Context, s backend.Spec) error {
	return b.call(ctx, "POST", wire.AdmissionPath, s, nil)
}

func (b *Backend) Names(ctx context.Context, s backend.Spec) (names []string, err error) {
	return names, b.call(ctx, "POST", wire.NamesPath, s, &names)
}

func (b *Backend) Apply(ctx context.Context, s backend.Spec) error {
	return b.call(ctx, "PUT", wire.InstancePath(s.Instance), s, nil)
}

func (b *Backend) Await(ctx context.Context, id backstay.InstanceID, revision int64) (s backend.Status, err error) {
	for err == nil && s.Revision <= revision { // the keeper answers from time to time, changed or not
		err = b.call(ctx, "GET", wire.InstancePath(id)+"?after="+strconv.FormatInt(revision, 10), nil, &s)
	}
	return s, err
}

func (b *Backend) Unwell(ctx context.Context) (list []backend.Status, err error) {
	return list, b.call(ctx, "GET", wire.UnwellPath, nil, &list)
}

func (b *Backend) Held(ctx context.Context) (generations map[backstay.InstanceID]int64, err error) {
	return generations, b.call(ctx, "GET", wire.HeldPath, nil, &generations)
}

// Storage is backend.Gauge's.
func (b *Backend) Storage(ctx context.Context, id backstay.InstanceID) (s backend.Storage, err error) {
	return s, b.call(ctx, "GET", wire.StoragePath(id), nil, &s)
}

func (b *Backend) Remove(ctx context.Context, id backstay.InstanceID) error {
	return b.call(ctx, "DELETE", wire.InstancePath(id), nil, nil)
}

func (b *Backend) CreateUser(
	ctx context.Context, id backstay.InstanceID, u backend.User,
) (c backstay.Credentials, err error) {
	return c, b.call(ctx, "PUT", wire.UserPath(id, u.Name), u, &c)
}

func (b *Backend) DropUser(ctx context.Context, id backstay.InstanceID, name string) error {
	return b.call(ctx, "DELETE", wire.UserPath(id, name), nil, nil)
}

// Admin is how an instance that runs is administered on this machine: Unavailable while it does not.
func (b *Backend) Admin(ctx context.Context, id backstay.InstanceID) (a wire.Admin, err error) {
	return a, b.call(ctx, "GET", wire.AdminPath(id), nil, &a)
}

// Look is the status of an instance as it is now.
func (b *Backend) Look(ctx context.Context, id backstay.InstanceID) (backend.Status, error) {
	return b.Await(ctx, id, 0)
}

// Drills are those that have ended last, of each instance that had one.
func (b *Backend) Drills(ctx context.Context) (held map[backstay.InstanceID][]backend.Drill, err error) {
	return held, b.call(ctx, "GET", wire.DrillsPath, nil, &held)
}

// Rotate gives an instance's administrator another password. It reports whether that has one.
func (b *Backend) Rotate(ctx context.Context, id backstay.InstanceID) (password bool, err error) {
	var r wire.Rotation
	err = b.call(ctx, "POST", wire.RotationPath(id), nil, &r)
	return r.Password, err
}

// Keeper tells which keeper answers now.
func (b *Backend) Keeper(ctx context.Context) (wire.Keeper, error) { return b.ask(ctx) }

// handshakeLimit is how long a keeper may take to say who it is.
const handshakeLimit = 5 * time.Second

func (b *Backend) ask(ctx context.Context) (k wire.Keeper, err error) {
	return k, b.tryWithin(ctx, handshakeLimit, "GET", wire.KeeperPath, nil, &k)
}

// Stop ends all engines and then the keeper, and returns when all have ended. It reports whether there
// was a keeper that could be asked.
func (b *Backend) Stop(ctx context.Context) (asked bool, err error) {
	var silence *silenceError
	k, err := b.ask(ctx)
	if err != nil {
		return !errors.As(err, &silence), err
	}
	p, err := process.Open(k.PID)
	if errors.Is(err, os.ErrProcessDone) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	defer p.Close()
	if err := b.try(ctx, "POST", wire.StopPath, nil, nil); err != nil {
		return !errors.As(err, &silence), err
	}
	select {
	case <-p.Done():
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// call asks the keeper, again and again while there is none. Every request means the same when it
// arrives twice.
func (b *Backend) call(ctx context.Context, method, path string, body, result any) error {
	return b.callWithin(ctx, callLimit, method, path, body, result)
}

// callWithin is call for an answer that may take the keeper as long as limit.
func (b *Backend) callWithin(ctx context.Context, limit time.Duration, method, path string, body, result any) error {
	patient, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	var silence *silenceError
	err := wait.Until(patient, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		err = b.tryWithin(ctx, limit, method, path, body, result)
		return errors.As(err, &silence), err
	})
	switch {
	case !errors.As(err, &silence):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return backstay.Wrapf(err, backstay.Unavailable, "The keeper of the databases does not answer.")
}

// callLimit is how long the keeper may take to answer: longer than it lets an engine take.
const callLimit = wire.LongPoll + 10*time.Second

func (b *Backend) tryWithin(ctx context.Context, limit time.Duration, method, path string, body, result any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return b.try(ctx, method, path, body, result)
}

// silenceError is that of a request without an answer.
type silenceError struct{ cause error }

func (e *silenceError) Error() string { return "ask the keeper: " + e.cause.Error() }
func (e *silenceError) Unwrap() error { return e.cause }

func (b *Backend) try(ctx context.Context, method, path string, body, result any) error {
	encoded := []byte{}
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request to the keeper: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://keeper"+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	response, err := b.client.Do(r)
	if err != nil {
		return &silenceError{err}
	}
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		return refusal(response)
	}
	if result == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(result); err != nil {
		return &silenceError{err}
	}
	return nil
}

// refusal is the keeper's Problem as an error. What is no Problem comes from something else.
func refusal(response *http.Response) error {
	var p wire.Problem
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		return fmt.Errorf("the keeper answers %s: %w", response.Status, err)
	}
	kind := backstay.KindFromString(p.Kind)
	return backstay.Errorf(kind, "%s", cmp.Or(p.Sentence, response.Status))
}
