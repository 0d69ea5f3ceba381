-- +goose Up
-- What a look at the event looks at: of a refund the charge, of a schedule the subscription.
ALTER TABLE stripe_events ADD COLUMN root_id text NOT NULL DEFAULT '';
UPDATE stripe_events SET root_id = object_id;
DROP INDEX stripe_events_object_idx;
CREATE INDEX stripe_events_root_idx ON stripe_events (root_id, id) WHERE status = 'pending';
CREATE INDEX stripe_events_received_idx ON stripe_events (received_at DESC, id DESC);
-- How often somebody has asked for it to be done again.
ALTER TABLE stripe_events ADD COLUMN replays integer NOT NULL DEFAULT 0;

-- Until when events have been listed: one row.
CREATE TABLE stripe_sweeps (
    id         boolean     NOT NULL DEFAULT true CONSTRAINT stripe_sweeps_pkey PRIMARY KEY CONSTRAINT stripe_sweeps_one_row CHECK (id),
    watermark  timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

ALTER TABLE invoices ADD COLUMN finalization_error text;
-- When a dispute of theirs was first lost.
ALTER TABLE stripe_customers ADD COLUMN dispute_lost_at timestamptz;
ALTER TABLE transactions ADD COLUMN fee bigint NOT NULL DEFAULT 0;

CREATE TABLE charges (
    id                text        NOT NULL CONSTRAINT charges_pkey PRIMARY KEY,
    account_id        uuid        NOT NULL CONSTRAINT charges_account_id_fkey REFERENCES accounts (id),
    customer_id       text        NOT NULL,
    payment_intent_id text,
    invoice_id        text,
    status            text        NOT NULL,
    amount            bigint      NOT NULL,
    amount_refunded   bigint      NOT NULL,
    currency          text        NOT NULL,
    disputed          boolean     NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
);
CREATE INDEX charges_account_idx ON charges (account_id, created_at DESC, id DESC);
CREATE INDEX charges_invoice_idx ON charges (invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX charges_intent_idx ON charges (payment_intent_id) WHERE payment_intent_id IS NOT NULL;

CREATE TABLE refunds (
    id         text        NOT NULL CONSTRAINT refunds_pkey PRIMARY KEY,
    account_id uuid        NOT NULL CONSTRAINT refunds_account_id_fkey REFERENCES accounts (id),
    charge_id  text        NOT NULL,
    status     text        NOT NULL,
    amount     bigint      NOT NULL,
    currency   text        NOT NULL,
    reason     text        NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX refunds_charge_idx ON refunds (charge_id, created_at, id);

CREATE TABLE disputes (
    id         text        NOT NULL CONSTRAINT disputes_pkey PRIMARY KEY,
    account_id uuid        NOT NULL CONSTRAINT disputes_account_id_fkey REFERENCES accounts (id),
    charge_id  text        NOT NULL,
    status     text        NOT NULL,
    amount     bigint      NOT NULL,
    -- The part of the amount that the bank has taken and not brought back; fees are in the transactions.
    withdrawn  bigint      NOT NULL,
    currency   text        NOT NULL,
    reason     text        NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX disputes_charge_idx ON disputes (charge_id, created_at, id);

CREATE TABLE checkout_sessions (
    id                text        NOT NULL CONSTRAINT checkout_sessions_pkey PRIMARY KEY,
    account_id        uuid        NOT NULL CONSTRAINT checkout_sessions_account_id_fkey REFERENCES accounts (id),
    mode              text        NOT NULL,
    status            text        NOT NULL,
    payment_status    text        NOT NULL,
    amount_total      bigint,
    currency          text,
    payment_intent_id text,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
);
CREATE INDEX checkout_sessions_account_idx ON checkout_sessions (account_id, created_at DESC, id DESC);
CREATE INDEX checkout_sessions_intent_idx ON checkout_sessions (payment_intent_id) WHERE payment_intent_id IS NOT NULL;

CREATE TABLE payment_methods (
    id          text        NOT NULL CONSTRAINT payment_methods_pkey PRIMARY KEY,
    account_id  uuid        NOT NULL CONSTRAINT payment_methods_account_id_fkey REFERENCES accounts (id),
    customer_id text        NOT NULL,
    type        text        NOT NULL,
    brand       text        NOT NULL DEFAULT '',
    last4       text        NOT NULL DEFAULT '',
    exp_month   integer     NOT NULL DEFAULT 0,
    exp_year    integer     NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    detached_at timestamptz
);
CREATE INDEX payment_methods_account_idx ON payment_methods (account_id, id);

-- What a refund or dispute claims of a lot, and what there was to take: the difference is the shortfall.
CREATE TABLE credit_clawbacks (
    account_id uuid        NOT NULL,
    lot_id     uuid        NOT NULL,
    -- `refund:re_…`, `dispute:dp_…`
    cause      text        NOT NULL,
    claimed    bigint      NOT NULL,
    taken      bigint      NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT credit_clawbacks_pkey PRIMARY KEY (account_id, lot_id, cause),
    CONSTRAINT credit_clawbacks_lot_fkey FOREIGN KEY (account_id, lot_id) REFERENCES credit_lots (account_id, id),
    CONSTRAINT credit_clawbacks_taken_check CHECK (taken BETWEEN 0 AND claimed)
);
ALTER TABLE credit_entries DROP CONSTRAINT credit_entries_kind_check;
ALTER TABLE credit_entries ADD CONSTRAINT credit_entries_kind_check CHECK (kind IN ('grant', 'consume', 'expire', 'revoke', 'restore'));

-- +goose Down
DROP TABLE credit_clawbacks, payment_methods, checkout_sessions, disputes, refunds, charges, stripe_sweeps;
ALTER TABLE transactions DROP COLUMN fee;
ALTER TABLE stripe_customers DROP COLUMN dispute_lost_at;
ALTER TABLE invoices DROP COLUMN finalization_error;
DROP INDEX stripe_events_received_idx, stripe_events_root_idx;
ALTER TABLE stripe_events DROP COLUMN replays, DROP COLUMN root_id;
CREATE INDEX stripe_events_object_idx ON stripe_events (object_id, id) WHERE status = 'pending';
ALTER TABLE credit_entries DROP CONSTRAINT credit_entries_kind_check;
ALTER TABLE credit_entries ADD CONSTRAINT credit_entries_kind_check CHECK (kind IN ('grant', 'consume', 'expire'));
