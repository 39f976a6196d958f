package uaa

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keyBits = 2048
	// keyLife is how long a key signs. After that it verifies until its last token is dead.
	keyLife = 30 * 24 * time.Hour
	// clockSkew is how far apart the clocks of two servers on one store may be.
	clockSkew = time.Hour
)

// signingKey is a key that has been opened.
type signingKey struct {
	number               int
	private              *rsa.PrivateKey
	createdAt, expiresAt time.Time
}

func (k signingKey) id() string { return fmt.Sprintf("key-%d", k.number) }

// keyring remembers the keys as last loaded, oldest first.
type keyring struct {
	loaded atomic.Pointer[[]signingKey]
	mu     sync.Mutex   // held while loading
	asked  atomic.Int64 // when the newest key was last asked for, in seconds of Unix time
	missed time.Time    // when an unknown id was last looked for in vain
}

// missPause is how long no unknown id is looked for after one was in vain: anybody can make up ids, and each
// would cost a query.
const missPause = time.Second

func (r *keyring) all() []signingKey {
	if p := r.loaded.Load(); p != nil {
		return *p
	}
	return nil
}

func (r *keyring) newest() (signingKey, bool) {
	keys := r.all()
	if len(keys) == 0 {
		return signingKey{}, false
	}
	return keys[len(keys)-1], true
}

func (r *keyring) find(id string, now time.Time) (signingKey, bool) {
	for _, k := range r.all() {
		if k.id() == id && now.Before(k.expiresAt) {
			return k, true
		}
	}
	return signingKey{}, false
}

// newestPause is how long another server's key, or one that an operator had made, may wait until we sign with it.
const newestPause = 10 * time.Second

// RotateKey makes a new key to sign with before the newest has had its time. Whoever is logged in stays so: the keys
// before verify until their last token is dead.
func (s *Server) RotateKey(ctx context.Context) error {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if err := s.loadKeys(ctx); err != nil {
		return err
	}
	k, _ := s.keys.newest()
	return s.makeKey(ctx, k.number+1)
}

// signer returns the key to sign with. The first call after the newest has had its time makes the next.
func (s *Server) signer(ctx context.Context) (signingKey, error) {
	recent := s.now().Unix()-s.keys.asked.Load() < int64(newestPause.Seconds())
	if k, ok := s.keys.newest(); ok && s.signs(k) && recent {
		return k, nil
	}
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if err := s.loadKeys(ctx); err != nil {
		return signingKey{}, err
	}
	k, ok := s.keys.newest()
	if ok && s.signs(k) {
		return k, nil
	}
	if err := s.makeKey(ctx, k.number+1); err != nil {
		return signingKey{}, fmt.Errorf("make signing key: %w", err)
	}
	if err := s.loadKeys(ctx); err != nil { // ours, or that of a server that was quicker
		return signingKey{}, err
	}
	k, _ = s.keys.newest()
	return k, nil
}

func (s *Server) signs(k signingKey) bool { return s.now().Before(k.createdAt.Add(keyLife)) }

// verifier returns the key of that id. One that is not known here may be new from another server.
func (s *Server) verifier(ctx context.Context, id string) (signingKey, bool, error) {
	if k, ok := s.keys.find(id, s.now()); ok {
		return k, true, nil
	}
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if k, ok := s.keys.find(id, s.now()); ok || s.now().Sub(s.keys.missed).Abs() < missPause {
		return k, ok, nil
	}
	if err := s.loadKeys(ctx); err != nil {
		return signingKey{}, false, err
	}
	k, ok := s.keys.find(id, s.now())
	if !ok {
		s.keys.missed = s.now()
	}
	return k, ok, nil
}

// loadKeys opens the keys that are new; the caller holds keys.mu.
func (s *Server) loadKeys(ctx context.Context) error {
	s.keys.asked.Store(s.now().Unix())
	kept, err := s.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	keys := make([]signingKey, len(kept))
	for i, k := range kept {
		if keys[i], err = s.openKey(k); err != nil {
			return fmt.Errorf("load signing key %d: %w", k.Number, err)
		}
	}
	s.keys.loaded.Store(&keys)
	return nil
}

func (s *Server) openKey(k SealedKey) (signingKey, error) {
	for _, known := range s.keys.all() {
		if known.number == k.Number && known.createdAt.Equal(k.CreatedAt) {
			return known, nil
		}
	}
	plain, err := s.Key.Open(k.Sealed, keyContext(k.Number))
	if err != nil {
		return signingKey{}, err
	}
	private, err := x509.ParsePKCS1PrivateKey(plain)
	return signingKey{number: k.Number, private: private, createdAt: k.CreatedAt, expiresAt: k.ExpiresAt}, err
}

func keyContext(number int) string { return fmt.Sprintf("uaa/key/%d", number) }

func (s *Server) makeKey(ctx context.Context, number int) error {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return err
	}
	now := s.now()
	return s.Store.AddSigningKey(ctx, SealedKey{
		Number: number, Sealed: s.Key.Seal(x509.MarshalPKCS1PrivateKey(private), keyContext(number)),
		CreatedAt: now, ExpiresAt: now.Add(keyLife + s.longestLifetime() + clockSkew),
	})
}

// publicKey is a key as UAA shows it: a JSON Web Key (RFC 7517), and as PEM.
type publicKey struct {
	KeyType   string `json:"kty"`
	Use       string `json:"use"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Value     string `json:"value"`
	Modulus   string `json:"n"`
	Exponent  string `json:"e"`
}

func newPublicKey(k signingKey) (publicKey, error) {
	public := &k.private.PublicKey
	der, err := x509.MarshalPKIXPublicKey(public)
	return publicKey{
		KeyType: "RSA", Use: "sig", ID: k.id(), Algorithm: algorithm.Alg(),
		Value:    string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		Modulus:  base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
		Exponent: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()),
	}, err
}

// publicKeys lists the keys that verify, newest first. Before the first login there is none.
func (s *Server) publicKeys(ctx context.Context) ([]publicKey, error) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if err := s.loadKeys(ctx); err != nil {
		return nil, err
	}
	public := []publicKey{}
	keys := s.keys.all()
	for i := len(keys) - 1; i >= 0; i-- {
		if !s.now().Before(keys[i].expiresAt) {
			continue
		}
		p, err := newPublicKey(keys[i])
		if err != nil {
			return nil, err
		}
		public = append(public, p)
	}
	return public, nil
}

func (s *Server) showTokenKey(w http.ResponseWriter, r *http.Request) error {
	keys, err := s.publicKeys(r.Context())
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return &uaaError{
			status: http.StatusNotFound, Code: "not_found", Description: "There is no key yet: the first login makes it.",
		}
	}
	return writeJSON(w, http.StatusOK, keys[0])
}

func (s *Server) showTokenKeys(w http.ResponseWriter, r *http.Request) error {
	keys, err := s.publicKeys(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string][]publicKey{"keys": keys})
}
