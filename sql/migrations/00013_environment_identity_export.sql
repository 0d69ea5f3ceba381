-- +goose Up
-- The APP_ENV of the apply. Everything at Stripe bears it: under another one the same catalogue is a second set of products, and
-- the first set goes off sale.
ALTER TABLE catalog_applies ADD COLUMN environment text;
-- Of applies before this one the ids of the products that they made tell it. NULL is not known: an id has `_` for signs of all kinds.
UPDATE catalog_applies SET environment = (
    SELECT min(p.environment) FROM (
        SELECT substring(stripe_product_id FROM '^saaskit_([^_]+)_tier_') AS environment FROM tiers WHERE archived_at IS NULL
        UNION ALL SELECT substring(stripe_product_id FROM '^saaskit_([^_]+)_pack_') FROM credit_packs WHERE archived_at IS NULL
    ) p HAVING count(DISTINCT p.environment) = 1
);

-- Users who are gone here while their identity is still at Supabase Auth, for want of the key that deletes it.
CREATE INDEX user_deletions_identity_idx ON user_deletions (requested_at, user_id) WHERE finished_at IS NOT NULL AND identity_closed_at IS NULL;

-- An export reads all of an account in the order of the ids.
CREATE INDEX stripe_customers_export_idx ON stripe_customers (account_id, id);
CREATE INDEX checkout_attempts_export_idx ON checkout_attempts (account_id, id);
CREATE INDEX subscription_changes_export_idx ON subscription_changes (account_id, id);
CREATE INDEX payment_intents_export_idx ON payment_intents (account_id, id);
CREATE INDEX refunds_export_idx ON refunds (account_id, id);
CREATE INDEX disputes_export_idx ON disputes (account_id, id);
CREATE INDEX credit_notes_export_idx ON credit_notes (account_id, id);
CREATE INDEX outbox_export_idx ON outbox (account_id, id);

-- +goose Down
DROP INDEX stripe_customers_export_idx, checkout_attempts_export_idx, subscription_changes_export_idx, payment_intents_export_idx,
    refunds_export_idx, disputes_export_idx, credit_notes_export_idx, outbox_export_idx;
DROP INDEX user_deletions_identity_idx;
ALTER TABLE catalog_applies DROP COLUMN environment;
