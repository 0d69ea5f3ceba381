-- +goose Up
CREATE TABLE stripe_customers (
    -- The intent; its id is part of the idempotency key towards Stripe.
    id                     uuid        NOT NULL CONSTRAINT stripe_customers_pkey PRIMARY KEY,
    account_id             uuid        NOT NULL CONSTRAINT stripe_customers_account_id_fkey REFERENCES accounts (id),
    -- NULL until Stripe has answered.
    stripe_id              text        CONSTRAINT stripe_customers_stripe_id_key UNIQUE,
    email                  text        NOT NULL DEFAULT '',
    default_payment_method text,
    balance                bigint      NOT NULL DEFAULT 0,
    currency               text,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL,
    deleted_at             timestamptz
);
-- One living customer an account.
CREATE UNIQUE INDEX stripe_customers_live_key ON stripe_customers (account_id) WHERE deleted_at IS NULL;

CREATE TABLE checkout_attempts (
    -- Part of the idempotency key towards Stripe, so that a new attempt never gets an old, dead session.
    id                uuid        NOT NULL CONSTRAINT checkout_attempts_pkey PRIMARY KEY,
    account_id        uuid        NOT NULL CONSTRAINT checkout_attempts_account_id_fkey REFERENCES accounts (id),
    kind              text        NOT NULL CONSTRAINT checkout_attempts_kind_check CHECK (kind IN ('subscription', 'credit_pack')),
    price_lookup_key  text        NOT NULL,
    stripe_price_id   text        NOT NULL,
    currency          text        NOT NULL,
    tier_id           text,
    interval          text,
    pack_id           text,
    credits           bigint,
    success_url       text        NOT NULL,
    cancel_url        text        NOT NULL,
    -- creating: Stripe has not answered yet. open: the customer can pay. expiring: we are taking it back.
    status            text        NOT NULL
        CONSTRAINT checkout_attempts_status_check CHECK (status IN ('creating', 'open', 'expiring', 'complete', 'expired', 'failed')),
    stripe_session_id text        CONSTRAINT checkout_attempts_stripe_session_id_key UNIQUE,
    url               text,
    -- Whoever calls Stripe for this attempt holds it until then.
    lease_until       timestamptz,
    expires_at        timestamptz,
    created_by        uuid,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
);
-- One checkout of a kind at a time: no second subscription by a double click.
CREATE UNIQUE INDEX checkout_attempts_live_key ON checkout_attempts (account_id, kind) WHERE status IN ('creating', 'open', 'expiring');

CREATE TABLE subscriptions (
    id                   text        NOT NULL CONSTRAINT subscriptions_pkey PRIMARY KEY,
    account_id           uuid        NOT NULL CONSTRAINT subscriptions_account_id_fkey REFERENCES accounts (id),
    customer_id          text        NOT NULL,
    -- Stripe's word, kept verbatim even where we do not know it.
    status               text        NOT NULL,
    -- The tier of its price in our catalogue; NULL where the price is unknown.
    tier_id              text,
    price_id             text        NOT NULL DEFAULT '',
    interval             text,
    currency             text        NOT NULL DEFAULT '',
    quantity             bigint      NOT NULL DEFAULT 1,
    current_period_start timestamptz,
    current_period_end   timestamptz,
    -- Latest end over all items; access never ends before it.
    access_end           timestamptz,
    cancel_at            timestamptz,
    cancel_at_period_end boolean     NOT NULL DEFAULT false,
    canceled_at          timestamptz,
    ended_at             timestamptz,
    trial_start          timestamptz,
    trial_end            timestamptz,
    -- When it was first seen past due; grace is counted from here.
    past_due_since       timestamptz,
    -- Behavior of pause_collection, NULL where collection is not paused.
    pause_behavior       text,
    -- When collection was first seen paused: a pause that voids invoices ends access with the period that was paid before it.
    paused_since         timestamptz,
    latest_invoice_id    text,
    livemode             boolean     NOT NULL,
    -- Whether it gave access when its status was last one that we know: kept for a status that we do not.
    access_known         boolean     NOT NULL DEFAULT false,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL
);
CREATE INDEX subscriptions_account_idx ON subscriptions (account_id, created_at DESC, id DESC);

CREATE TABLE subscription_items (
    id                   text   NOT NULL CONSTRAINT subscription_items_pkey PRIMARY KEY,
    subscription_id      text   NOT NULL CONSTRAINT subscription_items_subscription_id_fkey REFERENCES subscriptions (id),
    account_id           uuid   NOT NULL,
    price_id             text   NOT NULL,
    quantity             bigint NOT NULL,
    current_period_start timestamptz,
    current_period_end   timestamptz
);
CREATE INDEX subscription_items_subscription_idx ON subscription_items (subscription_id, id);

CREATE TABLE invoices (
    id                 text        NOT NULL CONSTRAINT invoices_pkey PRIMARY KEY,
    account_id         uuid        NOT NULL CONSTRAINT invoices_account_id_fkey REFERENCES accounts (id),
    customer_id        text        NOT NULL,
    subscription_id    text,
    number             text,
    status             text        NOT NULL,
    billing_reason     text        NOT NULL DEFAULT '',
    currency           text        NOT NULL,
    subtotal           bigint      NOT NULL,
    total              bigint      NOT NULL,
    amount_due         bigint      NOT NULL,
    amount_paid        bigint      NOT NULL,
    amount_remaining   bigint      NOT NULL,
    starting_balance   bigint      NOT NULL DEFAULT 0,
    ending_balance     bigint,
    attempt_count      bigint      NOT NULL DEFAULT 0,
    payment_intent_id  text,
    charge_id          text,
    paid_out_of_band   boolean     NOT NULL DEFAULT false,
    hosted_invoice_url text,
    invoice_pdf        text,
    period_start       timestamptz,
    period_end         timestamptz,
    created_at         timestamptz NOT NULL,
    finalized_at       timestamptz,
    paid_at            timestamptz,
    updated_at         timestamptz NOT NULL
);
CREATE INDEX invoices_account_idx ON invoices (account_id, created_at DESC, id DESC);

CREATE TABLE invoice_lines (
    id                   text    NOT NULL,
    invoice_id           text    NOT NULL CONSTRAINT invoice_lines_invoice_id_fkey REFERENCES invoices (id),
    account_id           uuid    NOT NULL,
    price_id             text    NOT NULL DEFAULT '',
    subscription_item_id text,
    description          text    NOT NULL DEFAULT '',
    amount               bigint  NOT NULL,
    currency             text    NOT NULL,
    quantity             bigint  NOT NULL,
    proration            boolean NOT NULL,
    period_start         timestamptz,
    period_end           timestamptz,
    CONSTRAINT invoice_lines_pkey PRIMARY KEY (invoice_id, id)
);
-- Whether the period of an item has been paid.
CREATE INDEX invoice_lines_item_idx ON invoice_lines (subscription_item_id, period_start) WHERE subscription_item_id IS NOT NULL;

CREATE TABLE payment_intents (
    id               text        NOT NULL CONSTRAINT payment_intents_pkey PRIMARY KEY,
    account_id       uuid        NOT NULL CONSTRAINT payment_intents_account_id_fkey REFERENCES accounts (id),
    customer_id      text        NOT NULL,
    status           text        NOT NULL,
    amount           bigint      NOT NULL,
    currency         text        NOT NULL,
    invoice_id       text,
    latest_charge_id text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);

CREATE TABLE transactions (
    id          uuid        NOT NULL CONSTRAINT transactions_pkey PRIMARY KEY,
    account_id  uuid        NOT NULL CONSTRAINT transactions_account_id_fkey REFERENCES accounts (id),
    kind        text        NOT NULL CONSTRAINT transactions_kind_check CHECK (kind IN ('payment', 'refund', 'dispute')),
    -- Stripe's id of what moved: `charge:ch_…`, `invoice:in_…` where an invoice was paid outside Stripe.
    natural_key text        NOT NULL CONSTRAINT transactions_natural_key_key UNIQUE,
    status      text        NOT NULL,
    amount      bigint      NOT NULL,
    currency    text        NOT NULL,
    invoice_id  text,
    charge_id   text,
    description text        NOT NULL DEFAULT '',
    occurred_at timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX transactions_account_idx ON transactions (account_id, occurred_at DESC, id DESC);

-- The inbox. A row's status changes only in the transaction that settles it, or to dead with the last attempt.
CREATE TABLE stripe_events (
    id             text        NOT NULL CONSTRAINT stripe_events_pkey PRIMARY KEY,
    stripe_account text        NOT NULL DEFAULT '',
    livemode       boolean     NOT NULL,
    type           text        NOT NULL,
    api_version    text        NOT NULL DEFAULT '',
    object_kind    text        NOT NULL DEFAULT '',
    object_id      text        NOT NULL DEFAULT '',
    customer_id    text        NOT NULL DEFAULT '',
    event_created  timestamptz,
    -- The bytes that the signature covers; NULL once their retention is over, or the account deleted.
    payload        bytea,
    sha256         bytea       NOT NULL,
    source         text        NOT NULL CONSTRAINT stripe_events_source_check CHECK (source IN ('webhook', 'sweep', 'replay')),
    secret_index   integer     NOT NULL,
    delivery_count integer     NOT NULL DEFAULT 1,
    status         text        NOT NULL
        CONSTRAINT stripe_events_status_check CHECK (status IN ('pending', 'done', 'ignored', 'quarantined', 'dead')),
    reason         text        NOT NULL DEFAULT '',
    attempts       integer     NOT NULL DEFAULT 0,
    -- How often it was put aside because something of ours or of Stripe's was not there yet.
    parks          integer     NOT NULL DEFAULT 0,
    last_error     text        NOT NULL DEFAULT '',
    received_at    timestamptz NOT NULL,
    done_at        timestamptz
);
CREATE INDEX stripe_events_pending_idx ON stripe_events (received_at, id) WHERE status = 'pending';
CREATE INDEX stripe_events_object_idx ON stripe_events (object_id, id) WHERE status = 'pending';
-- What still has bytes that its retention ends: by time, and by customer when an account is deleted.
CREATE INDEX stripe_events_payload_idx ON stripe_events (done_at, id) WHERE payload IS NOT NULL AND status IN ('done', 'ignored');
CREATE INDEX stripe_events_customer_idx ON stripe_events (customer_id) WHERE payload IS NOT NULL AND status IN ('done', 'ignored');
CREATE INDEX stripe_events_trouble_idx ON stripe_events (status, received_at, id) WHERE status IN ('dead', 'quarantined');

-- Signed bytes that are no event.
CREATE TABLE stripe_quarantine (
    id           uuid        NOT NULL CONSTRAINT stripe_quarantine_pkey PRIMARY KEY,
    reason       text        NOT NULL,
    payload      bytea       NOT NULL,
    sha256       bytea       NOT NULL CONSTRAINT stripe_quarantine_sha256_key UNIQUE,
    secret_index integer     NOT NULL,
    received_at  timestamptz NOT NULL
);

-- The fence: a look at an object takes a sequence before its fetch, and its write is dropped where a later look was applied.
CREATE TABLE stripe_objects (
    id            text        NOT NULL CONSTRAINT stripe_objects_pkey PRIMARY KEY,
    kind          text        NOT NULL,
    next_seq      bigint      NOT NULL DEFAULT 0,
    applied_seq   bigint      NOT NULL DEFAULT 0,
    last_fetch_at timestamptz,
    -- Set once Stripe has said that the object is gone: what else comes in about it has nothing to look at.
    deleted_at    timestamptz
);

-- +goose Down
DROP TABLE stripe_objects, stripe_quarantine, stripe_events, transactions, payment_intents, invoice_lines, invoices,
    subscription_items, subscriptions, checkout_attempts, stripe_customers;
