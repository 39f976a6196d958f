package state

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/uaa"
)

// A client has no username in the table, and is called by its id.
const (
	userName    = `coalesce(u.username, u.id)`
	isClient    = `u.username IS NULL`
	userColumns = `u.id, ` + userName + `, ` + isClient + `, u.given_name, u.family_name, u.email, u.global_role,
		u.password_hash, u.password_version, u.version, u.created_at, u.updated_at, u.password_changed_at`
)

func scanUser(r pgx.CollectableRow) (u uaa.User, err error) {
	err = r.Scan(&u.ID, &u.Username, &u.Client, &u.GivenName, &u.FamilyName, &u.Email, &u.Role, &u.PasswordHash,
		&u.PasswordVersion, &u.Version, &u.CreatedAt, &u.UpdatedAt, &u.PasswordChangedAt)
	return u, err
}

func (s *Store) AddUser(ctx context.Context, u uaa.User, e backstay.Event) error {
	var username, folded, origin *string
	if !u.Client {
		username, folded, origin = &u.Username, new(uaa.FoldName(u.Username)), new("uaa")
	}
	_, err := recorded(ctx, s, e, func(tx pgx.Tx) (pgconn.CommandTag, error) {
		return tx.Exec(ctx, `INSERT INTO uaa.users (id, username, folded_name, origin, given_name, family_name, email,
			global_role, password_hash, password_version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			u.ID, username, folded, origin, u.GivenName, u.FamilyName, u.Email, u.Role, u.PasswordHash, u.PasswordVersion)
	})
	if violates(err, "users_pkey") {
		return backstay.Errorf(backstay.Taken, "Client already exists: %s", u.ID)
	}
	return usernameTaken(err, u)
}

// usernameTaken says so if err is that another user has u's name.
func usernameTaken(err error, u uaa.User) error {
	if violates(err, "user_name") {
		return backstay.Errorf(backstay.Taken, "Username already in use: %s", u.Username)
	}
	return err
}

func (s *Store) UpdateUser(ctx context.Context, u uaa.User, e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		var version int
		err := tx.QueryRow(ctx, `SELECT version FROM uaa.users WHERE id = $1 AND username IS NOT NULL FOR UPDATE`, u.ID).
			Scan(&version)
		if err != nil {
			return orNotFound(err, "User")
		}
		if version != u.Version {
			return backstay.Errorf(backstay.Busy, "User %s has been changed meanwhile: it is at version %d, not %d.",
				u.ID, version, u.Version)
		}
		return usernameTaken(changeUser(ctx, tx, e, `UPDATE uaa.users SET username = $2, folded_name = $3,
			given_name = $4, family_name = $5, email = $6, version = version + 1, updated_at = now() WHERE id = $1`,
			u.ID, u.Username, uaa.FoldName(u.Username), u.GivenName, u.FamilyName, u.Email), u)
	})
}

func (s *Store) Accounts(ctx context.Context) ([]uaa.User, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+userColumns+` FROM uaa.users u ORDER BY `+isClient+`,
		coalesce(u.folded_name, u.id)`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanUser)
}

func (s *Store) Account(ctx context.Context, id backstay.UserID) (uaa.User, error) {
	u, err := selectOne(ctx, s.pool, scanUser, `SELECT `+userColumns+` FROM uaa.users u WHERE u.id = $1`, id)
	return u, orNotFound(err, "User")
}

func (s *Store) UserNamed(ctx context.Context, username string) (uaa.User, error) {
	u, err := selectOne(ctx, s.pool, scanUser, `SELECT `+userColumns+` FROM uaa.users u
		WHERE u.folded_name = $1`,
		uaa.FoldName(username))
	return u, orNotFound(err, "User")
}

// changeUser runs one statement about the user whose id is its first argument, and records e with it;
// NotFound if there is no such user.
func changeUser(ctx context.Context, tx pgx.Tx, e backstay.Event, sql string, args ...any) error {
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return orNotFound(pgx.ErrNoRows, "User")
	}
	return recordEvent(ctx, tx, e)
}

func (s *Store) SetPassword(ctx context.Context, id backstay.UserID, hash string, e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		err := changeUser(ctx, tx, e, `UPDATE uaa.users
			SET password_hash = $2, password_version = password_version + 1, version = version + 1,
				password_changed_at = now(), updated_at = now() WHERE id = $1`, id, hash)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM uaa.refresh_tokens WHERE user_id = $1`, id)
		return err
	})
}

func (s *Store) SetGlobalRole(ctx context.Context, id backstay.UserID, role backstay.GlobalRole,
	e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if role != backstay.Administrator {
			if err := keepAdministrator(ctx, tx, id); err != nil {
				return err
			}
		}
		return changeUser(ctx, tx, e, `UPDATE uaa.users
			SET global_role = $2, version = version + 1, updated_at = now() WHERE id = $1`, id, role)
	})
}

// RemoveUser leaves it to foreign keys to remove all that is the user's, roles too.
func (s *Store) RemoveUser(ctx context.Context, id backstay.UserID, e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := keepAdministrator(ctx, tx, id); err != nil {
			return err
		}
		return changeUser(ctx, tx, e, `DELETE FROM uaa.users WHERE id = $1`, id)
	})
}

// keepAdministrator fails for the last user who is an administrator. Until tx ends, no other ceases
// to be one: of two who remove each other at once, one stays. Clients do not count, as nobody may be
// left who knows their secrets.
func keepAdministrator(ctx context.Context, tx pgx.Tx, id backstay.UserID) error {
	rows, err := tx.Query(ctx, `SELECT `+userColumns+` FROM uaa.users u WHERE u.global_role = $1 AND NOT `+isClient+`
		ORDER BY u.id FOR UPDATE`, backstay.Administrator)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, scanUser)
	if err == nil && len(all) == 1 && all[0].ID == id {
		return backstay.Errorf(backstay.Invalid,
			"User '%s' is the last administrator: make somebody else one first, by 'backstay user set-role NAME admin'.",
			all[0].Username)
	}
	return err
}

func (s *Store) RehashPassword(ctx context.Context, id backstay.UserID, version int, hash string) error {
	_, err := s.pool.Exec(ctx, `UPDATE uaa.users SET password_hash = $3 WHERE id = $1 AND password_version = $2`, id,
		version, hash)
	return err
}

// AddRefreshToken locks the user's row, so that a new password ends this session too or comes first.
func (s *Store) AddRefreshToken(ctx context.Context, t uaa.RefreshToken) error {
	tag, err := s.pool.Exec(ctx, `INSERT INTO uaa.refresh_tokens (id, user_id, hash, expires_at)
		SELECT $1, u.id, $4, $5 FROM uaa.users u WHERE u.id = $2 AND u.password_version = $3 FOR SHARE`,
		t.ID, t.UserID, t.PasswordVersion, t.Hash, t.ExpiresAt)
	if err == nil && tag.RowsAffected() == 0 {
		return orNotFound(pgx.ErrNoRows, "User")
	}
	return err
}

func (s *Store) UserOfRefreshToken(ctx context.Context, hash []byte, now time.Time) (uaa.User, error) {
	u, err := selectOne(ctx, s.pool, scanUser, `SELECT `+userColumns+` FROM uaa.refresh_tokens t
		JOIN uaa.users u ON u.id = t.user_id
		WHERE t.hash = $1 AND t.expires_at > $2`, hash, now)
	return u, orNotFound(err, "Token")
}

func (s *Store) Revoke(ctx context.Context, id backstay.UserID, tokenID string, until time.Time) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM uaa.refresh_tokens WHERE id = $1 AND user_id = $2`, tokenID, id)
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO uaa.revoked_tokens (user_id, id, expires_at) VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, id, tokenID, until)
		return err
	})
}

func (s *Store) Actor(ctx context.Context, id backstay.UserID, version int,
	tokenID string) (by backstay.Actor, err error) {
	err = s.pool.QueryRow(ctx, `SELECT u.id, `+userName+`, `+isClient+`, u.global_role FROM uaa.users u
		WHERE u.id = $1 AND u.password_version = $2
		AND NOT EXISTS (SELECT FROM uaa.revoked_tokens r WHERE r.user_id = u.id AND r.id = $3)`,
		id, version, tokenID).Scan(&by.UserID, &by.Username, &by.Client, &by.Role)
	if errors.Is(err, pgx.ErrNoRows) {
		return backstay.Actor{}, orNotFound(err, "User")
	}
	return by, err
}

// RemoveExpired passes over rows that somebody else is removing, so that nobody waits for anybody.
func (s *Store) RemoveExpired(ctx context.Context, now, failures time.Time) error {
	batch := &pgx.Batch{}
	for _, table := range []string{"refresh_tokens", "revoked_tokens", "signing_keys"} {
		batch.Queue(removeBefore("uaa."+table, "expires_at"), now)
	}
	batch.Queue(removeBefore("uaa.failures", "last_at"), failures)
	return s.pool.SendBatch(ctx, batch).Close()
}

func removeBefore(table, column string) string {
	return `DELETE FROM ` + table + ` WHERE ctid = ANY (ARRAY(SELECT ctid FROM ` + table + `
		WHERE ` + column + ` <= $1 FOR UPDATE SKIP LOCKED))`
}

func (s *Store) Failures(ctx context.Context, keys []string) ([]uaa.Failures, error) {
	rows, err := s.pool.Query(ctx, `SELECT key, count, last_at FROM uaa.failures WHERE key = ANY($1)`, keys)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[uaa.Failures])
}

// AddFailure takes the keys in their order, so that two at once cannot wait for each other.
func (s *Store) AddFailure(ctx context.Context, keys []string, at, forgotten time.Time, e backstay.Event) error {
	_, err := recorded(ctx, s, e, func(tx pgx.Tx) (pgconn.CommandTag, error) {
		return tx.Exec(ctx, `INSERT INTO uaa.failures AS f (key, count, last_at) SELECT k, 1, $2 FROM unnest($1::text[]) k
			ORDER BY k
			ON CONFLICT (key) DO UPDATE SET last_at = $2, count = CASE WHEN f.last_at < $3 THEN 1 ELSE f.count + 1 END`, keys,
			at, forgotten)
	})
	return err
}

func (s *Store) Forgive(ctx context.Context, key string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM uaa.failures WHERE key = $1`, key)
	return err
}

func (s *Store) SigningKeys(ctx context.Context) ([]uaa.SealedKey, error) {
	rows, err := s.pool.Query(ctx, `SELECT number, sealed, created_at, expires_at FROM uaa.signing_keys ORDER BY number`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[uaa.SealedKey])
}

func (s *Store) AddSigningKey(ctx context.Context, k uaa.SealedKey) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO uaa.signing_keys (number, sealed, created_at, expires_at)
		VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		k.Number, k.Sealed, k.CreatedAt, k.ExpiresAt)
	return err
}
