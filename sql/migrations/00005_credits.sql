-- +goose Up
CREATE TABLE credit_accounts (
    account_id     uuid   NOT NULL CONSTRAINT credit_accounts_pkey PRIMARY KEY
        CONSTRAINT credit_accounts_account_id_fkey REFERENCES accounts (id),
    -- Sum of what remains in the lots; held is the part of it that is reserved.
    balance        bigint NOT NULL DEFAULT 0,
    held           bigint NOT NULL DEFAULT 0,
    next_seq       bigint NOT NULL DEFAULT 1,
    -- When time alone changes something next (a lot expires): no read and no spend after it goes by without settling first.
    next_change_at timestamptz,
    -- When to look next whether the clock owes the account an allowance; NULL is now.
    next_allowance_at timestamptz,
    CONSTRAINT credit_accounts_balance_check CHECK (balance >= 0 AND held BETWEEN 0 AND balance)
);
CREATE INDEX credit_accounts_due_idx ON credit_accounts (next_change_at, account_id) WHERE next_change_at IS NOT NULL;
CREATE INDEX credit_accounts_allowance_idx ON credit_accounts (next_allowance_at NULLS FIRST, account_id);

CREATE TABLE credit_lots (
    account_id  uuid        NOT NULL CONSTRAINT credit_lots_account_id_fkey REFERENCES credit_accounts (account_id),
    id          uuid        NOT NULL,
    source      text        NOT NULL CONSTRAINT credit_lots_source_check CHECK (source IN ('allowance', 'pack', 'grant')),
    -- What it was granted for, once for ever: `invoice:in_…:il_…`, `session:cs_…`, `clock:free:2026-03-01`.
    natural_key text        NOT NULL,
    -- Lower is spent first.
    priority    integer     NOT NULL,
    granted     bigint      NOT NULL CONSTRAINT credit_lots_granted_check CHECK (granted > 0),
    remaining   bigint      NOT NULL,
    expires_at  timestamptz,
    created_at  timestamptz NOT NULL,
    CONSTRAINT credit_lots_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT credit_lots_natural_key_key UNIQUE (account_id, natural_key),
    CONSTRAINT credit_lots_remaining_check CHECK (remaining BETWEEN 0 AND granted)
);
CREATE INDEX credit_lots_burn_idx ON credit_lots (account_id, priority, expires_at NULLS LAST, created_at, id) WHERE remaining > 0;

-- Never updated, never deleted.
CREATE TABLE credit_entries (
    account_id       uuid        NOT NULL CONSTRAINT credit_entries_account_id_fkey REFERENCES credit_accounts (account_id),
    -- Given under the lock of the account, without gaps.
    seq              bigint      NOT NULL,
    id               uuid        NOT NULL,
    kind             text        NOT NULL CONSTRAINT credit_entries_kind_check CHECK (kind IN ('grant', 'consume', 'expire')),
    amount           bigint      NOT NULL CONSTRAINT credit_entries_amount_check CHECK (amount <> 0),
    balance_after    bigint      NOT NULL CONSTRAINT credit_entries_balance_after_check CHECK (balance_after >= 0),
    held_after       bigint      NOT NULL CONSTRAINT credit_entries_held_after_check CHECK (held_after BETWEEN 0 AND balance_after),
    description      text        NOT NULL DEFAULT '',
    -- The caller's own name for it.
    reference        text,
    -- SHA-256 of principal, operation and Idempotency-Key; the answer is rebuilt from the entry.
    idempotency_hash bytea,
    request_hash     bytea,
    actor_kind       text        NOT NULL,
    actor_id         text        NOT NULL DEFAULT '',
    request_id       text        NOT NULL DEFAULT '',
    effective_at     timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    CONSTRAINT credit_entries_pkey PRIMARY KEY (account_id, seq),
    CONSTRAINT credit_entries_id_key UNIQUE (id)
);
CREATE UNIQUE INDEX credit_entries_reference_key ON credit_entries (account_id, reference) WHERE reference IS NOT NULL;
-- Not by account: a service key that sends one Idempotency-Key for two accounts has sent two different requests.
CREATE UNIQUE INDEX credit_entries_idempotency_key ON credit_entries (idempotency_hash) WHERE idempotency_hash IS NOT NULL;

-- Further Idempotency-Keys under which an entry was answered: those of requests that repeated its reference.
CREATE TABLE credit_entry_keys (
    idempotency_hash bytea       NOT NULL CONSTRAINT credit_entry_keys_pkey PRIMARY KEY,
    account_id       uuid        NOT NULL,
    seq              bigint      NOT NULL,
    request_hash     bytea       NOT NULL,
    created_at       timestamptz NOT NULL,
    CONSTRAINT credit_entry_keys_entry_fkey FOREIGN KEY (account_id, seq) REFERENCES credit_entries (account_id, seq)
);

-- Which lots an entry filled (the grant) or emptied: what remains in a lot is the sum of its rows here.
CREATE TABLE credit_entry_lots (
    account_id uuid   NOT NULL,
    seq        bigint NOT NULL,
    lot_id     uuid   NOT NULL,
    amount     bigint NOT NULL CONSTRAINT credit_entry_lots_amount_check CHECK (amount <> 0),
    CONSTRAINT credit_entry_lots_pkey PRIMARY KEY (account_id, seq, lot_id),
    CONSTRAINT credit_entry_lots_entry_fkey FOREIGN KEY (account_id, seq) REFERENCES credit_entries (account_id, seq),
    CONSTRAINT credit_entry_lots_lot_fkey FOREIGN KEY (account_id, lot_id) REFERENCES credit_lots (account_id, id)
);
CREATE INDEX credit_entry_lots_lot_idx ON credit_entry_lots (account_id, lot_id);

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME;
END $$;
-- +goose StatementEnd
CREATE TRIGGER credit_entries_append_only BEFORE UPDATE OR DELETE ON credit_entries FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER credit_entry_lots_append_only BEFORE UPDATE OR DELETE ON credit_entry_lots FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- TRUNCATE passes by triggers of rows.
CREATE TRIGGER credit_entries_no_truncate BEFORE TRUNCATE ON credit_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER credit_entry_lots_no_truncate BEFORE TRUNCATE ON credit_entry_lots FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- +goose Down
DROP TABLE credit_entry_lots, credit_entry_keys, credit_entries, credit_lots, credit_accounts;
DROP FUNCTION refuse_change;
