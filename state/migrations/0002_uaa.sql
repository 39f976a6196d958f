CREATE SCHEMA platform;

CREATE TABLE platform.secrets (
    name       text PRIMARY KEY,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE SCHEMA uaa;

CREATE TABLE uaa.users (
    id               text PRIMARY KEY,
    username         text NOT NULL CHECK (username <> ''),
    origin           text NOT NULL DEFAULT 'uaa',
    admin            boolean NOT NULL,
    password_hash    text NOT NULL,
    password_version integer NOT NULL, -- tokens for an older password are dead
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX user_name ON uaa.users (lower(username));

CREATE TABLE uaa.refresh_tokens (
    id         text PRIMARY KEY,
    user_id    text NOT NULL REFERENCES uaa.users ON DELETE CASCADE,
    hash       bytea NOT NULL CONSTRAINT refresh_token_hash UNIQUE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX refresh_tokens_by_user ON uaa.refresh_tokens (user_id);
CREATE INDEX refresh_tokens_by_expiry ON uaa.refresh_tokens (expires_at);

-- Access tokens that must not be believed although they are not expired.
CREATE TABLE uaa.revoked_tokens (
    user_id    text NOT NULL REFERENCES uaa.users ON DELETE CASCADE,
    id         text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, id)
);
CREATE INDEX revoked_tokens_by_expiry ON uaa.revoked_tokens (expires_at);

CREATE TABLE uaa.failures (
    key     text PRIMARY KEY,
    count   integer NOT NULL CHECK (count > 0),
    last_at timestamptz NOT NULL
);
CREATE INDEX failures_by_age ON uaa.failures (last_at);

CREATE TABLE uaa.signing_keys (
    number     integer PRIMARY KEY,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
