-- +goose Up
-- What somebody wants of a subscription: the intent, written before Stripe is asked.
CREATE TABLE subscription_changes (
    -- Part of the idempotency keys towards Stripe, so that asking again is asking once.
    id              uuid        NOT NULL CONSTRAINT subscription_changes_pkey PRIMARY KEY,
    account_id      uuid        NOT NULL CONSTRAINT subscription_changes_account_id_fkey REFERENCES accounts (id),
    subscription_id text        NOT NULL,
    kind            text        NOT NULL
        CONSTRAINT subscription_changes_kind_check CHECK (kind IN ('change', 'cancel', 'cancel_now', 'resume', 'migrate')),
    -- What was asked for: who asks for the same resumes it.
    wish            jsonb       NOT NULL,
    -- What Stripe is told; NULL until it is decided by what Stripe says of the subscription.
    plan            jsonb,
    status          text        NOT NULL
        CONSTRAINT subscription_changes_status_check CHECK (status IN ('running', 'done', 'failed', 'abandoned')),
    -- Whoever calls Stripe for this change holds it until then.
    lease_until     timestamptz,
    created_by      uuid,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
-- One change of an account at a time.
CREATE UNIQUE INDEX subscription_changes_running_key ON subscription_changes (account_id) WHERE status = 'running';

ALTER TABLE subscriptions
    -- A change that waits for its invoice to be paid.
    ADD COLUMN pending_price_id text,
    ADD COLUMN pending_quantity bigint,
    ADD COLUMN pending_expires_at timestamptz,
    -- The schedule that it follows, and the next phase of it.
    ADD COLUMN schedule_id text,
    ADD COLUMN scheduled_price_id text,
    ADD COLUMN scheduled_quantity bigint,
    ADD COLUMN scheduled_at timestamptz;

ALTER TABLE invoices ADD COLUMN next_payment_attempt timestamptz;
-- The invoices of a subscription that are still to be paid.
CREATE INDEX invoices_open_idx ON invoices (subscription_id, created_at DESC, id DESC) WHERE status = 'open';

ALTER TABLE checkout_attempts
    ADD COLUMN quantity bigint NOT NULL DEFAULT 1,
    ADD COLUMN trial_days integer NOT NULL DEFAULT 0;

ALTER TABLE tiers
    ADD COLUMN trial_days integer NOT NULL DEFAULT 0 CONSTRAINT tiers_trial_days_check CHECK (trial_days BETWEEN 0 AND 730),
    ADD COLUMN max_quantity bigint NOT NULL DEFAULT 1 CONSTRAINT tiers_max_quantity_check CHECK (max_quantity >= 1);

-- +goose Down
ALTER TABLE tiers DROP COLUMN trial_days, DROP COLUMN max_quantity;
ALTER TABLE checkout_attempts DROP COLUMN quantity, DROP COLUMN trial_days;
DROP INDEX invoices_open_idx;
ALTER TABLE invoices DROP COLUMN next_payment_attempt;
ALTER TABLE subscriptions DROP COLUMN pending_price_id, DROP COLUMN pending_quantity, DROP COLUMN pending_expires_at,
    DROP COLUMN schedule_id, DROP COLUMN scheduled_price_id, DROP COLUMN scheduled_quantity, DROP COLUMN scheduled_at;
DROP TABLE subscription_changes;
