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

-- +goose Down
DROP INDEX user_deletions_identity_idx;
ALTER TABLE catalog_applies DROP COLUMN environment;
