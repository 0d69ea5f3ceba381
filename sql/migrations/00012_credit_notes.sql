-- +goose Up
-- Of paid invoices: what gives something of a payment back. One of an open invoice only lowers what it asks for.
CREATE TABLE credit_notes (
    id         text        NOT NULL CONSTRAINT credit_notes_pkey PRIMARY KEY,
    account_id uuid        NOT NULL CONSTRAINT credit_notes_account_id_fkey REFERENCES accounts (id),
    invoice_id text        NOT NULL CONSTRAINT credit_notes_invoice_id_fkey REFERENCES invoices (id),
    status     text        NOT NULL,
    amount     bigint      NOT NULL,
    -- What of it went to the customer's balance, or back outside Stripe. What went back by a refund is that refund's.
    credited   bigint      NOT NULL,
    currency   text        NOT NULL,
    reason     text        NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT credit_notes_credited_check CHECK (credited BETWEEN 0 AND amount)
);
CREATE INDEX credit_notes_invoice_idx ON credit_notes (invoice_id, created_at, id);

-- What has gone back of payments: the one answer to what credits and allowances lose. A cause that has ended is there with nothing.
CREATE VIEW reversals AS
SELECT r.account_id, ('refund:' || r.id)::text AS cause, (CASE WHEN r.status = 'succeeded' THEN r.amount ELSE 0 END)::bigint AS amount,
    r.created_at, c.id AS charge_id, c.invoice_id, c.payment_intent_id
FROM refunds r JOIN charges c ON c.id = r.charge_id AND c.account_id = r.account_id
UNION ALL
SELECT d.account_id, ('dispute:' || d.id)::text, d.withdrawn, d.created_at, c.id, c.invoice_id, c.payment_intent_id
FROM disputes d JOIN charges c ON c.id = d.charge_id AND c.account_id = d.account_id
UNION ALL
SELECT n.account_id, ('credit_note:' || n.id)::text, n.credited, n.created_at, NULL::text, n.invoice_id, NULL::text
FROM credit_notes n;

-- Signed bytes that are no event name people, too: their retention ends them, and the rest of the row stays.
ALTER TABLE stripe_quarantine ALTER COLUMN payload DROP NOT NULL;
CREATE INDEX stripe_quarantine_payload_idx ON stripe_quarantine (received_at, id) WHERE payload IS NOT NULL;

-- +goose Down
DROP INDEX stripe_quarantine_payload_idx;
UPDATE stripe_quarantine SET payload = '' WHERE payload IS NULL;
ALTER TABLE stripe_quarantine ALTER COLUMN payload SET NOT NULL;
DROP VIEW reversals;
DROP TABLE credit_notes;
