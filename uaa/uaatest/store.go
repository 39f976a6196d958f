// Package uaatest is the contract of the login server's store, as tests. Nothing else may enter.
package uaatest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/uaa"
)

// start is when the tests' clock begins; a store must not ask its own.
var start = time.Date(2020, 2, 29, 12, 0, 0, 0, time.UTC)

// RunStore tests a store against the contract of [uaa.Store]; open returns an empty one for each test.
func RunStore(t *testing.T, open func(testing.TB) uaa.Store) {
	for name, test := range map[string]func(*suite){
		"names are unique in any case":              (*suite).names,
		"a client has an id and no name":            (*suite).clients,
		"who is removed is gone with all tokens":    (*suite).removal,
		"roles change at once":                      (*suite).globalRoles,
		"one administrator stays":                   (*suite).lastAdministrator,
		"who a user is changes at a version":        (*suite).update,
		"a new password ends all sessions":          (*suite).newPassword,
		"hashing anew ends none":                    (*suite).rehash,
		"refresh tokens are known until they end":   (*suite).refreshTokens,
		"a late login is refused":                   (*suite).lateLogin,
		"nobody revokes the token of another":       (*suite).revoke,
		"what is expired is removed, and only that": (*suite).expiry,
		"failures are counted and forgotten":        (*suite).failures,
		"failures at once are all counted":          (*suite).failuresAtOnce,
		"of several next keys one is kept":          (*suite).keys,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(&suite{T: t, ctx: t.Context(), Store: open(t)})
		})
	}
}

type suite struct {
	*testing.T
	uaa.Store
	ctx context.Context
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) wantKind(err error, want backstay.Kind) {
	s.Helper()
	if err == nil || backstay.KindOf(err) != want {
		s.Errorf("error %v, want one that is %v", err, want)
	}
}

func (s *suite) addUser(name string) uaa.User {
	s.Helper()
	u := uaa.User{
		ID: backstay.UserID(uuid.NewString()), Username: name, PasswordHash: "hash of " + name, PasswordVersion: 1,
	}
	s.must(s.AddUser(s.ctx, u, backstay.Event{}))
	return u
}

func (s *suite) addToken(u uaa.User, expires time.Time) uaa.RefreshToken {
	s.Helper()
	id := uuid.NewString()
	t := uaa.RefreshToken{ID: id, UserID: u.ID, PasswordVersion: u.PasswordVersion, Hash: []byte(id), ExpiresAt: expires}
	s.must(s.AddRefreshToken(s.ctx, t))
	return t
}

func (s *suite) wantToken(t uaa.RefreshToken, alive bool) {
	s.Helper()
	u, err := s.UserOfRefreshToken(s.ctx, t.Hash, start)
	switch {
	case !alive:
		s.wantKind(err, backstay.NotFound)
	case err != nil || u.ID != t.UserID:
		s.Errorf("token of user %s is of %+v (%v)", t.UserID, u, err)
	}
}

func (s *suite) wantActor(u uaa.User, version int, token string, known bool) {
	s.Helper()
	by, err := s.Actor(s.ctx, u.ID, version, token)
	switch want := (backstay.Actor{UserID: u.ID, Username: u.Username, Client: u.Client, Role: u.Role}); {
	case !known:
		s.wantKind(err, backstay.NotFound)
	case err != nil || by != want:
		s.Errorf("actor %+v (%v), want %+v", by, err, want)
	}
}

// untimed is a user without what only the store knows.
func untimed(u uaa.User) uaa.User {
	u.CreatedAt, u.UpdatedAt, u.PasswordChangedAt = time.Time{}, time.Time{}, time.Time{}
	return u
}

func (s *suite) names() {
	u := s.addUser("Ada@example.org")
	for _, name := range []string{"Ada@example.org", "ada@EXAMPLE.org"} {
		if found, err := s.UserNamed(s.ctx, name); err != nil || untimed(found) != u || found.CreatedAt.IsZero() {
			s.Errorf("%s is %+v (%v), want %+v", name, found, err, u)
		}
	}
	person := uaa.User{
		ID: "person", Username: "Zoë.ÅNGSTRÖM", GivenName: "Zoë", FamilyName: "Ångström", Email: "z@example.org",
		PasswordHash: "x",
	}
	s.must(s.AddUser(s.ctx, person, backstay.Event{}))
	for _, name := range []string{"ZOË.ångström", "zoe\u0308.a\u030angstro\u0308m"} {
		if found, err := s.UserNamed(s.ctx, name); err != nil || untimed(found) != person {
			s.Errorf("%s is %+v (%v), want %+v", name, found, err, person)
		}
	}
	s.wantKind(s.AddUser(s.ctx, uaa.User{ID: "twin", Username: "zoë.ångström", PasswordHash: "x"}, backstay.Event{}),
		backstay.Taken)
	s.wantKind(s.AddUser(s.ctx, uaa.User{ID: "other", Username: "ADA@example.org", PasswordHash: "x"}, backstay.Event{}),
		backstay.Taken)
	_, err := s.UserNamed(s.ctx, "ada")
	s.wantKind(err, backstay.NotFound)
	_, err = s.UserNamed(s.ctx, "Ada@example_org")
	s.wantKind(err, backstay.NotFound)
}

func (s *suite) clients() {
	named := s.addUser("ci")
	c := uaa.User{
		ID: "ci", Username: "ci", Client: true, Role: backstay.GlobalAuditor, PasswordHash: "hash of its secret",
		PasswordVersion: 1,
	}
	s.must(s.AddUser(s.ctx, c, backstay.Event{}))
	s.wantKind(s.AddUser(s.ctx, c, backstay.Event{}), backstay.Taken)
	for _, want := range []uaa.User{named, c} {
		if found, err := s.Account(s.ctx, want.ID); err != nil || untimed(found) != want {
			s.Errorf("account %s is %+v (%v), want %+v", want.ID, found, err, want)
		}
		s.wantActor(want, 1, "token", true)
	}
	if found, err := s.UserNamed(s.ctx, "CI"); err != nil || untimed(found) != named {
		s.Errorf("the name of a client is %+v (%v), want the user", found, err)
	}
	_, err := s.Account(s.ctx, "nobody")
	s.wantKind(err, backstay.NotFound)
	s.must(s.AddUser(s.ctx, uaa.User{ID: "a", Username: "a", Client: true, PasswordHash: "x"}, backstay.Event{}))
	s.addUser("Ada")
	all, err := s.Accounts(s.ctx)
	s.must(err)
	var names []string
	for _, u := range all {
		names = append(names, u.Username)
	}
	if len(names) < 4 ||
		!slices.Equal(slices.DeleteFunc(names, func(n string) bool { return n == "admin" || n == "robot" }),
			[]string{"Ada", "ci", "a", "ci"}) {
		s.Errorf("accounts %q, want users and then clients, each by name", names)
	}
}

func (s *suite) removal() {
	u, other := s.addUser("ada"), s.addUser("bob")
	dead, stays := s.addToken(u, start.Add(time.Hour)), s.addToken(other, start.Add(time.Hour))
	s.must(s.Revoke(s.ctx, u.ID, "access", start.Add(time.Hour)))
	s.must(s.RemoveUser(s.ctx, u.ID, backstay.Event{}))
	s.wantKind(s.RemoveUser(s.ctx, u.ID, backstay.Event{}), backstay.NotFound)
	s.wantToken(dead, false)
	s.wantToken(stays, true)
	s.wantActor(u, 1, "another", false)
	s.wantActor(other, 1, "another", true)
	late := uaa.RefreshToken{
		ID: "late", UserID: u.ID, PasswordVersion: 1, Hash: []byte("late"), ExpiresAt: start.Add(time.Hour),
	}
	s.wantKind(s.AddRefreshToken(s.ctx, late), backstay.NotFound)
	s.addUser("ada")
}

func (s *suite) globalRoles() {
	u := s.addUser("ada")
	roles := []backstay.GlobalRole{backstay.AdminReadOnly, backstay.GlobalAuditor, backstay.Administrator, ""}
	for _, role := range roles {
		s.addAdministrator("keeps " + string(role))
		s.must(s.SetGlobalRole(s.ctx, u.ID, role, backstay.Event{}))
		u.Role = role
		s.wantActor(u, 1, "token", true)
	}
	s.wantKind(s.SetGlobalRole(s.ctx, "nobody", backstay.GlobalAuditor, backstay.Event{}), backstay.NotFound)
}

func (s *suite) addAdministrator(name string) uaa.User {
	s.Helper()
	u := s.addUser(name)
	s.must(s.SetGlobalRole(s.ctx, u.ID, backstay.Administrator, backstay.Event{}))
	return u
}

// lastAdministrator has everyone remove or demote everyone, at once.
func (s *suite) lastAdministrator() {
	for range 8 {
		s.addAdministrator(uuid.NewString())
	}
	s.must(
		s.AddUser(s.ctx,
			uaa.User{ID: "robots", Username: "robots", Client: true, Role: backstay.Administrator, PasswordHash: "x"},
			backstay.Event{}),
	)
	all, err := s.Accounts(s.ctx)
	s.must(err)
	var together sync.WaitGroup
	for i, u := range all {
		if u.Client || u.Role != backstay.Administrator {
			continue
		}
		together.Go(func() {
			var err error
			if i%2 == 0 {
				err = s.SetGlobalRole(s.ctx, u.ID, "", backstay.Event{})
			} else {
				err = s.RemoveUser(s.ctx, u.ID, backstay.Event{})
			}
			if err != nil && backstay.KindOf(err) != backstay.Invalid && backstay.KindOf(err) != backstay.NotFound {
				s.Error(err)
			}
		})
	}
	together.Wait()
	all, err = s.Accounts(s.ctx)
	s.must(err)
	all = slices.DeleteFunc(all, func(u uaa.User) bool { return u.Client || u.Role != backstay.Administrator })
	if len(all) != 1 {
		s.Fatalf("%d administrators are left, want 1", len(all))
	}
	s.wantKind(s.RemoveUser(s.ctx, all[0].ID, backstay.Event{}), backstay.Invalid)
	s.wantKind(s.SetGlobalRole(s.ctx, all[0].ID, backstay.GlobalAuditor, backstay.Event{}), backstay.Invalid)
	s.must(s.SetGlobalRole(s.ctx, all[0].ID, backstay.Administrator, backstay.Event{}))
}

func (s *suite) update() {
	u := s.addUser("ada")
	session := s.addToken(u, start.Add(time.Hour))
	s.addUser("bob")
	s.must(s.SetGlobalRole(s.ctx, u.ID, backstay.GlobalAuditor, backstay.Event{}))
	change := uaa.User{ID: u.ID, Username: "Zoë", GivenName: "Zoë", FamilyName: "Å", Email: "z@example.org", Version: 1}
	s.must(s.UpdateUser(s.ctx, change, backstay.Event{}))
	want := change
	want.Version, want.Role, want.PasswordHash, want.PasswordVersion = 2, backstay.GlobalAuditor, u.PasswordHash, 1
	if found, err := s.UserNamed(s.ctx, "ZOË"); err != nil || untimed(found) != want {
		s.Errorf("changed to %+v (%v), want %+v", found, err, want)
	}
	s.wantKind(s.UpdateUser(s.ctx, change, backstay.Event{}), backstay.Busy)
	want.Username = "BOB"
	s.wantKind(s.UpdateUser(s.ctx, want, backstay.Event{}), backstay.Taken)
	if found, err := s.UserOfRefreshToken(s.ctx, session.Hash, start); err != nil || found.Username != "Zoë" {
		s.Errorf("the session is of %+v (%v)", found, err)
	}
	s.wantKind(s.UpdateUser(s.ctx, uaa.User{ID: "nobody", Username: "nobody"}, backstay.Event{}), backstay.NotFound)
	s.must(s.AddUser(s.ctx, uaa.User{ID: "ci", Username: "ci", Client: true, PasswordHash: "x"}, backstay.Event{}))
	s.wantKind(s.UpdateUser(s.ctx, uaa.User{ID: "ci", Username: "carl"}, backstay.Event{}), backstay.NotFound)
}

func (s *suite) newPassword() {
	u, other := s.addUser("ada"), s.addUser("bob")
	ended, stays := s.addToken(u, start.Add(time.Hour)), s.addToken(other, start.Add(time.Hour))
	s.wantActor(u, 1, "a", true)
	s.must(s.SetPassword(s.ctx, u.ID, "new", backstay.Event{}))
	s.wantToken(ended, false)
	s.wantToken(stays, true)
	s.wantActor(u, 1, "a", false)
	s.wantActor(u, 2, "a", true)
	if found, err := s.UserNamed(s.ctx, "ada"); err != nil || found.PasswordHash != "new" ||
		found.PasswordVersion != 2 || found.Version != 1 {
		s.Errorf("user %+v (%v), want the new password", found, err)
	}
	s.wantKind(s.SetPassword(s.ctx, "nobody", "new", backstay.Event{}), backstay.NotFound)
}

func (s *suite) rehash() {
	u := s.addUser("ada")
	token := s.addToken(u, start.Add(time.Hour))
	s.must(s.RehashPassword(s.ctx, u.ID, 1, "same, dearer"))
	s.wantToken(token, true)
	s.must(s.SetPassword(s.ctx, u.ID, "new", backstay.Event{}))
	s.must(s.RehashPassword(s.ctx, u.ID, 1, "came late"))
	if found, err := s.UserNamed(s.ctx, "ada"); err != nil || found.PasswordHash != "new" {
		s.Errorf("user %+v (%v), want the new password", found, err)
	}
}

func (s *suite) refreshTokens() {
	u := s.addUser("ada")
	token := s.addToken(u, start.Add(time.Minute))
	s.wantToken(token, true)
	s.wantToken(uaa.RefreshToken{Hash: []byte("unknown")}, false)
	_, err := s.UserOfRefreshToken(s.ctx, token.Hash, start.Add(time.Minute))
	s.wantKind(err, backstay.NotFound)
}

func (s *suite) lateLogin() {
	u := s.addUser("ada")
	s.must(s.SetPassword(s.ctx, u.ID, "new", backstay.Event{}))
	late := uaa.RefreshToken{
		ID: "late", UserID: u.ID, PasswordVersion: 1, Hash: []byte("late"), ExpiresAt: start.Add(time.Hour),
	}
	s.wantKind(s.AddRefreshToken(s.ctx, late), backstay.NotFound)
	late.UserID = "nobody"
	s.wantKind(s.AddRefreshToken(s.ctx, late), backstay.NotFound)
}

func (s *suite) revoke() {
	ada, bob := s.addUser("ada"), s.addUser("bob")
	token, until := s.addToken(ada, start.Add(time.Hour)), start.Add(time.Minute)
	s.must(s.Revoke(s.ctx, bob.ID, token.ID, until))
	s.must(s.Revoke(s.ctx, bob.ID, "access", until))
	s.wantToken(token, true)
	s.wantActor(ada, 1, "access", true)
	s.wantActor(bob, 1, "access", false)
	for range 2 { // the same request twice is the same
		s.must(s.Revoke(s.ctx, ada.ID, token.ID, until))
		s.must(s.Revoke(s.ctx, ada.ID, "access", until))
	}
	s.wantToken(token, false)
	s.wantActor(ada, 1, "access", false)
	s.wantActor(ada, 1, "another", true)
}

func (s *suite) expiry() {
	u := s.addUser("ada")
	before, after := start.Add(-time.Second), start.Add(time.Second)
	dead, alive := s.addToken(u, before), s.addToken(u, after)
	s.must(s.Revoke(s.ctx, u.ID, "dead", before))
	s.must(s.Revoke(s.ctx, u.ID, "alive", after))
	s.must(s.AddSigningKey(s.ctx, uaa.SealedKey{Number: 1, Sealed: []byte{1}, CreatedAt: before, ExpiresAt: before}))
	s.must(s.AddSigningKey(s.ctx, uaa.SealedKey{Number: 2, Sealed: []byte{2}, CreatedAt: before, ExpiresAt: after}))
	s.must(s.AddFailure(s.ctx, []string{"old"}, start.Add(-2*time.Hour), start.Add(-3*time.Hour), backstay.Event{}))
	s.must(s.AddFailure(s.ctx, []string{"young"}, before, start.Add(-time.Hour), backstay.Event{}))
	s.must(s.RemoveExpired(s.ctx, start, start.Add(-time.Hour)))
	if _, err := s.UserOfRefreshToken(s.ctx, dead.Hash, start.Add(-time.Hour)); backstay.KindOf(
		err,
	) != backstay.NotFound {
		s.Errorf("an expired refresh token is still there (%v)", err)
	}
	s.wantToken(alive, true)
	s.wantActor(u, 1, "dead", true) // no longer remembered: it is expired by itself
	s.wantActor(u, 1, "alive", false)
	if keys, err := s.SigningKeys(s.ctx); err != nil || len(keys) != 1 || keys[0].Number != 2 {
		s.Errorf("keys %+v (%v), want number 2", keys, err)
	}
	if got := s.counts("old", "young"); !slices.Equal(got, []int{0, 1}) {
		s.Errorf("counts %v, want the old one forgotten", got)
	}
}

// counts are those of the keys' failures.
func (s *suite) counts(keys ...string) []int {
	s.Helper()
	all, err := s.Failures(s.ctx, keys)
	s.must(err)
	counts := make([]int, len(keys))
	for _, f := range all {
		counts[slices.Index(keys, f.Key)] = f.Count
	}
	return counts
}

func (s *suite) failures() {
	forgotten := start.Add(-time.Hour)
	s.must(s.AddFailure(s.ctx, []string{"a", "b"}, start, forgotten, backstay.Event{}))
	s.must(s.AddFailure(s.ctx, []string{"a", "c"}, start.Add(time.Minute), forgotten, backstay.Event{}))
	if got := s.counts("a", "b", "c", "d"); !slices.Equal(got, []int{2, 1, 1, 0}) {
		s.Errorf("counts %v", got)
	}
	all, err := s.Failures(s.ctx, []string{"a"})
	s.must(err)
	if len(all) != 1 || !all[0].Last.Equal(start.Add(time.Minute)) {
		s.Errorf("failures %+v, want the time of the last", all)
	}
	s.must(s.Forgive(s.ctx, "a"))
	s.must(s.AddFailure(s.ctx, []string{"b"}, start.Add(2*time.Hour), start.Add(time.Hour), backstay.Event{}))
	if got := s.counts("a", "b", "c"); !slices.Equal(got, []int{0, 1, 1}) {
		s.Errorf("counts %v, want a forgiven and b begun anew", got)
	}
}

func (s *suite) failuresAtOnce() {
	const each = 20
	var all sync.WaitGroup
	for _, keys := range [][]string{{"a", "b", "c"}, {"c", "b", "a"}, {"b", "a", "c"}} {
		all.Go(func() {
			for range each {
				if err := s.AddFailure(s.ctx, keys, start, start.Add(-time.Hour), backstay.Event{}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := s.counts("a", "b", "c"); !slices.Equal(got, []int{3 * each, 3 * each, 3 * each}) {
		s.Errorf("counts %v, want %d each", got, 3*each)
	}
}

func (s *suite) keys() {
	var all sync.WaitGroup
	for i := range byte(4) {
		all.Go(func() {
			err := s.AddSigningKey(s.ctx,
				uaa.SealedKey{Number: 1, Sealed: []byte{i}, CreatedAt: start, ExpiresAt: start.Add(time.Hour)})
			if err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	s.must(
		s.AddSigningKey(s.ctx,
			uaa.SealedKey{Number: 2, Sealed: []byte("second"), CreatedAt: start, ExpiresAt: start.Add(time.Hour)}),
	)
	keys, err := s.SigningKeys(s.ctx)
	s.must(err)
	if len(keys) != 2 || keys[0].Number != 1 || keys[1].Number != 2 || !bytes.Equal(keys[1].Sealed, []byte("second")) ||
		!keys[1].CreatedAt.Equal(start) {
		s.Errorf("keys %+v, want two, oldest first", keys)
	}
}
