package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/strict"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/wire"
)

const (
	maxBody      = 1 << 20          // bytes of a request
	userPatience = 20 * time.Second // for the engine to make or drop a user
)

// serve answers on the socket until ctx ends. Who can open the socket may do everything: the
// directory that it is in is its owner's alone.
func (k *Keeper) serve(ctx context.Context) error {
	if err := os.Remove(k.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", k.socket())
	if err != nil {
		return fmt.Errorf("listen for the control plane: %w", err)
	}
	if err := os.Chmod(k.socket(), 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	s := &http.Server{
		Handler: k.routes(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := s.Shutdown(grace); err != nil {
			s.Close()
		}
		stopped <- nil
	})
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the control plane: %w", err)
	}
	return <-stopped
}

func (k *Keeper) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, answer func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { k.answer(w, r, answer) })
	}
	handleLong := func(pattern string, answer func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			// Its time to be read in would end a request that is answered later than that.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			k.answer(w, r, answer)
		})
	}
	handle("GET "+wire.KeeperPath, func(*http.Request) (any, error) {
		return wire.Keeper{Protocol: wire.Protocol, Version: k.Version, Executable: k.Executable, Told: k.Told,
			PID: os.Getpid()}, nil
	})
	handle("POST "+wire.ExitPath, func(*http.Request) (any, error) { k.stop(errExit); return nil, nil })
	handleLong("POST "+wire.StopPath, func(*http.Request) (any, error) { return nil, k.stopAll() })
	handle("GET "+wire.InventoryPath, k.answerInventory)
	handle("POST "+wire.AdmissionPath, k.answerAdmission)
	handle("POST "+wire.NamesPath, k.answerNames)
	handle("GET "+wire.UnwellPath, func(r *http.Request) (any, error) { return k.unwell(), nil })
	handle("GET "+wire.HeldPath, k.answerHeld)
	handle("GET "+wire.DrillsPath, func(*http.Request) (any, error) { return k.drills(), nil })
	handle("PUT "+wire.InstancePattern, k.answerApply)
	handle("GET "+wire.InstancePattern, k.answerStatus)
	handle("DELETE "+wire.InstancePattern, k.answerRemove)
	handle("GET "+wire.BackupsPath, k.answerAllBackups)
	handle("GET "+wire.InstanceBackupsPattern, k.answerBackups)
	handle("PUT "+wire.InstanceBackupsPattern, k.answerLearn)
	handle("DELETE "+wire.InstanceBackupsPattern, k.answerForget)
	handleLong("POST "+wire.ProofPattern, k.answerProof)
	handle("GET "+wire.AdminPattern, k.answerAdmin)
	handle("GET "+wire.StoragePattern, k.answerStorage)
	handle("POST "+wire.RotationPattern, k.answerRotate)
	handle("PUT "+wire.UserPattern, k.answerCreateUser)
	handle("DELETE "+wire.UserPattern, k.answerDropUser)
	return mux
}

// answer writes what f returns: nothing, a value or a wire.Problem.
func (k *Keeper) answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	value, err := f(r)
	switch {
	case err != nil:
		if backstay.KindOf(err) == backstay.Internal {
			k.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		kind := backstay.KindOf(err)
		sentence := instance.WithoutPaths(backstay.SentenceOf(err))
		writeJSON(w, statusOf(kind), wire.Problem{Kind: kind.String(), Sentence: sentence})
	case value == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, http.StatusOK, value)
	}
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value) // if it fails, who asked has gone
}

// statusOf is for people who look at the protocol; the wire.Problem is what counts.
func statusOf(k backstay.Kind) int {
	switch k {
	case backstay.NotFound:
		return http.StatusNotFound
	case backstay.Internal:
		return http.StatusInternalServerError
	case backstay.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnprocessableEntity
	}
}

// read decodes the request's body, strictly: a field that we do not know would be a wish ignored.
func read(r *http.Request, v any) error {
	if err := strict.Decode(r.Body, v); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The request cannot be read.")
	}
	return nil
}

func (k *Keeper) answerAdmission(r *http.Request) (any, error) {
	var spec backend.Spec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	if err := k.check(r.Context(), spec); err != nil {
		return nil, err
	}
	return nil, k.checkAdmission(r.Context(), spec)
}

// answerNames lists by what every endpoint of this machine is reached: an instance has a place here without
// taking one.
func (k *Keeper) answerNames(r *http.Request) (any, error) {
	var spec backend.Spec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	if err := k.check(r.Context(), spec); err != nil {
		return nil, err
	}
	return append([]string{k.Host, "localhost", "127.0.0.1"}, k.Listen...), nil
}

// answerHeld ends the turns of the instances that come up: a control plane asks for this as soon as it is up.
func (k *Keeper) answerHeld(*http.Request) (any, error) {
	k.starts.end()
	return k.held(), nil
}

func (k *Keeper) answerInventory(r *http.Request) (any, error) {
	inventory := backend.Inventory{Engines: []backend.EngineVersion{}, Room: k.room()}
	inventory.Encryption, _ = k.encryption.get(r.Context()) // the log says why there is none
	for _, name := range slices.Sorted(maps.Keys(k.Engines)) {
		installed, err := k.machine.Installed.Newest(r.Context(), name)
		if err != nil {
			return nil, err
		}
		for _, i := range installed {
			v := backend.EngineVersion{Engine: name, Product: i.Product, Version: i.Version, FullVersion: i.FullVersion}
			if tunable, ok := k.Engines[name].(engine.Tunable); ok {
				v.Settings = tunable.Tuning(i).Schema()
			}
			if archiver, ok := k.Engines[name].(engine.Archiver); ok {
				v.RestorePoints = archiver.RestorePoints(i)
			}
			if r, ok := k.Engines[name].(engine.Replicator); ok && r.Replicates(i) {
				v.Nodes = 2
			}
			_, v.Drills = k.Engines[name].(engine.Drillable)
			inventory.Engines = append(inventory.Engines, v)
		}
	}
	return inventory, nil
}

func (k *Keeper) answerApply(r *http.Request) (any, error) {
	var spec backend.Spec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	if id := r.PathValue("id"); string(spec.Instance) != id {
		return nil, backstay.Errorf(backstay.Invalid, "The Spec is of instance %q, not %q.", spec.Instance, id)
	}
	return nil, k.apply(r.Context(), spec)
}

// answerStatus waits for a status that is newer than the one that is known. When it has waited long
// enough, the same one is the answer.
func (k *Keeper) answerStatus(r *http.Request) (any, error) {
	after := int64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 || after == math.MaxInt64 {
			return nil, backstay.Errorf(backstay.Invalid, "after: want a revision, not %q.", text)
		}
	}
	in, err := k.asked(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wire.LongPoll)
	defer cancel()
	status := in.Await(ctx, after)
	_, err = k.asked(r) // it may be gone by now
	return status, err
}

// asked is the instance that a request is about.
func (k *Keeper) asked(r *http.Request) (*instance.Instance, error) {
	return k.instance(backstay.InstanceID(r.PathValue("id")))
}

func (k *Keeper) answerRemove(r *http.Request) (any, error) {
	in, err := k.asked(r)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("discard") == "true" {
		return nil, in.Discard(r.Context())
	}
	return nil, in.Remove(r.Context())
}

func (k *Keeper) answerAdmin(r *http.Request) (any, error) {
	in, err := k.asked(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), userPatience)
	defer cancel()
	pid, n, err := in.Process(ctx)
	return wire.Admin{PID: pid, SocketDir: n.RunDir, Port: n.Port(engine.ClientPort).Number}, err
}

func (k *Keeper) answerStorage(r *http.Request) (any, error) {
	in, err := k.asked(r)
	if err != nil {
		return nil, err
	}
	return in.Storage()
}

func (k *Keeper) answerRotate(r *http.Request) (any, error) {
	in, err := k.asked(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), userPatience)
	defer cancel()
	has, err := in.Rotate(ctx)
	return wire.Rotation{Password: has}, err
}

func (k *Keeper) answerCreateUser(r *http.Request) (any, error) {
	var u backend.User
	if err := read(r, &u); err != nil {
		return nil, err
	}
	if u.Name != r.PathValue("name") {
		return nil, backstay.Errorf(backstay.Invalid, "The user is %q, not %q.", u.Name, r.PathValue("name"))
	}
	in, err := k.asked(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), userPatience)
	defer cancel()
	if u.Replica {
		if err := k.giveReadPort(ctx, in); err != nil {
			return nil, err
		}
	}
	return in.CreateUser(ctx, u)
}

func (k *Keeper) answerDropUser(r *http.Request) (any, error) {
	in, err := k.asked(r)
	if backstay.KindOf(err) == backstay.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), userPatience)
	defer cancel()
	return nil, in.DropUser(ctx, r.PathValue("name"))
}
