-- +goose Up
CREATE TABLE users (
    id                 uuid        NOT NULL CONSTRAINT users_pkey PRIMARY KEY,
    issuer             text        NOT NULL,
    subject            text        NOT NULL,
    email              text        NOT NULL,
    -- When the token was issued, or the answer given, that told us the address: an older token changes nothing.
    email_as_of        timestamptz NOT NULL DEFAULT 'epoch',
    -- As Supabase Auth told us when asked, never as a token claims.
    email_confirmed_at timestamptz,
    email_checked_at   timestamptz,
    display_name       text        NOT NULL DEFAULT '',
    status             text        NOT NULL DEFAULT 'active'
        CONSTRAINT users_status_check CHECK (status IN ('active', 'disabled', 'deleting', 'deleted')),
    -- Tokens issued before this moment are refused.
    tokens_valid_after timestamptz,
    -- The session whose tokens are exempt from that: the one that signed out all others.
    kept_session       uuid,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    -- An e-mail address is no identity: two users may have the same one.
    CONSTRAINT users_issuer_subject_key UNIQUE (issuer, subject)
);
CREATE INDEX users_created_idx ON users (created_at DESC, id DESC);
CREATE INDEX users_email_idx ON users (lower(email) text_pattern_ops);

CREATE TABLE accounts (
    id            uuid        NOT NULL CONSTRAINT accounts_pkey PRIMARY KEY,
    kind          text        NOT NULL CONSTRAINT accounts_kind_check CHECK (kind IN ('personal', 'team')),
    name          text        NOT NULL,
    -- The user whose personal account this is.
    personal_of   uuid        CONSTRAINT accounts_personal_of_fkey REFERENCES users (id),
    status        text        NOT NULL DEFAULT 'active'
        CONSTRAINT accounts_status_check CHECK (status IN ('active', 'disabled', 'deleted')),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT accounts_personal_of_key UNIQUE (personal_of),
    CONSTRAINT accounts_personal_check CHECK ((kind = 'personal') = (personal_of IS NOT NULL))
);

CREATE TABLE memberships (
    account_id uuid        NOT NULL CONSTRAINT memberships_account_id_fkey REFERENCES accounts (id),
    user_id    uuid        NOT NULL CONSTRAINT memberships_user_id_fkey REFERENCES users (id),
    role       text        NOT NULL CONSTRAINT memberships_role_check CHECK (role IN ('owner', 'member')),
    created_at timestamptz NOT NULL,
    CONSTRAINT memberships_pkey PRIMARY KEY (account_id, user_id)
);
CREATE INDEX memberships_user_idx ON memberships (user_id, account_id);

CREATE TABLE revoked_sessions (
    session_id uuid        NOT NULL CONSTRAINT revoked_sessions_pkey PRIMARY KEY,
    user_id    uuid        NOT NULL CONSTRAINT revoked_sessions_user_id_fkey REFERENCES users (id),
    revoked_at timestamptz NOT NULL,
    -- No token of the session lives longer; the row may go then.
    expires_at timestamptz NOT NULL
);
CREATE INDEX revoked_sessions_expires_idx ON revoked_sessions (expires_at);
CREATE INDEX revoked_sessions_user_idx ON revoked_sessions (user_id, session_id);

-- The record of a deletion that is under way or done: which steps outside this database have been taken.
CREATE TABLE user_deletions (
    user_id            uuid        NOT NULL CONSTRAINT user_deletions_pkey PRIMARY KEY
        CONSTRAINT user_deletions_user_id_fkey REFERENCES users (id),
    account_id         uuid        NOT NULL CONSTRAINT user_deletions_account_id_fkey REFERENCES accounts (id),
    requested_at       timestamptz NOT NULL,
    billing_closed_at  timestamptz,
    identity_closed_at timestamptz,
    finished_at        timestamptz
);
CREATE INDEX user_deletions_open_idx ON user_deletions (requested_at, user_id) WHERE finished_at IS NULL;

CREATE TABLE api_keys (
    id           uuid        NOT NULL CONSTRAINT api_keys_pkey PRIMARY KEY,
    -- NULL for a service key, which works for any account.
    account_id   uuid        CONSTRAINT api_keys_account_id_fkey REFERENCES accounts (id),
    name         text        NOT NULL,
    -- SHA-256 of the secret. The secret itself is nowhere.
    hash         bytea       NOT NULL CONSTRAINT api_keys_hash_check CHECK (length(hash) = 32),
    start        text        NOT NULL,
    scopes       text[]      NOT NULL,
    allowed_ips  cidr[]      NOT NULL DEFAULT '{}',
    created_by   uuid        CONSTRAINT api_keys_created_by_fkey REFERENCES users (id),
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    -- The key that came in place of this one.
    replaced_by  uuid        CONSTRAINT api_keys_replaced_by_fkey REFERENCES api_keys (id),
    CONSTRAINT api_keys_hash_key UNIQUE (hash)
);
CREATE INDEX api_keys_account_idx ON api_keys (account_id, created_at DESC, id DESC) WHERE revoked_at IS NULL;

-- +goose Down
DROP TABLE api_keys, user_deletions, revoked_sessions, memberships, accounts, users;
