-- +goose Up
CREATE TABLE idempotency_keys (
    -- Who asked: kind and id of the principal.
    principal    text        NOT NULL,
    operation    text        NOT NULL,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,
    -- The result as JSON, without secrets; NULL while the request runs.
    result       jsonb,
    -- Where a request calls others in between: until when nobody else takes it up.
    lease_until  timestamptz,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, operation, key)
);
CREATE INDEX idempotency_keys_expires_idx ON idempotency_keys (expires_at);

CREATE TABLE audit_log (
    id          uuid        NOT NULL CONSTRAINT audit_log_pkey PRIMARY KEY,
    account_id  uuid,
    actor_kind  text        NOT NULL
        CONSTRAINT audit_log_actor_kind_check CHECK (actor_kind IN ('user', 'api_key', 'service', 'system', 'stripe', 'operator')),
    actor_id    text        NOT NULL DEFAULT '',
    action      text        NOT NULL,
    target_kind text        NOT NULL,
    target_id   text        NOT NULL,
    before      jsonb,
    after       jsonb,
    request_id  text        NOT NULL DEFAULT '',
    ip          text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL
);
CREATE INDEX audit_log_account_idx ON audit_log (account_id, created_at DESC, id DESC);
CREATE INDEX audit_log_created_idx ON audit_log (created_at DESC, id DESC);

CREATE TABLE outbox (
    id          uuid        NOT NULL CONSTRAINT outbox_pkey PRIMARY KEY,
    account_id  uuid,
    kind        text        NOT NULL,
    -- What happened, once for ever: `receipt:in_123`.
    natural_key text        NOT NULL CONSTRAINT outbox_natural_key_key UNIQUE,
    payload     jsonb       NOT NULL,
    created_at  timestamptz NOT NULL,
    sent_at     timestamptz
);
CREATE INDEX outbox_unsent_idx ON outbox (created_at, id) WHERE sent_at IS NULL;

-- +goose Down
DROP TABLE outbox, audit_log, idempotency_keys;
