-- Queries of package catalog, the only one that touches the tables of the catalogue.

-- name: GetTier :one
SELECT * FROM tiers WHERE id = @id;

-- name: ListTiers :many
-- ListTiers returns archived ones too: an account may still be subscribed to them.
SELECT * FROM tiers ORDER BY rank, id;

-- name: ListTierFeatures :many
SELECT * FROM tier_features ORDER BY tier_id, position, feature;

-- name: ListTierPrices :many
-- ListTierPrices returns archived ones too: they were sold, and renewals still name them.
SELECT * FROM tier_prices ORDER BY tier_id, interval, currency, created_at, lookup_key;

-- name: ListCreditPacks :many
SELECT * FROM credit_packs ORDER BY credits, id;

-- name: ListCreditPackPrices :many
SELECT * FROM credit_pack_prices ORDER BY pack_id, currency, created_at, lookup_key;

-- name: ListMeters :many
SELECT * FROM meters WHERE archived_at IS NULL ORDER BY id;

-- name: MeterExists :one
SELECT EXISTS (SELECT 1 FROM meters WHERE id = @id AND archived_at IS NULL);

-- name: GetTierPriceByStripeID :one
-- GetTierPriceByStripeID finds archived prices too. The credits are the tier's allowance of today, not of when it was bought.
SELECT p.*, t.allowance_amount, t.allowance_rollover
FROM tier_prices p JOIN tiers t ON t.id = p.tier_id
WHERE p.stripe_price_id = @stripe_price_id;

-- name: GetStripePriceOfTierPrice :one
SELECT stripe_price_id FROM tier_prices WHERE lookup_key = @lookup_key;

-- name: GetCreditPackPriceByStripeID :one
-- GetCreditPackPriceByStripeID finds archived prices too, with the credits that were sold under them.
SELECT p.*, c.expires_after_days
FROM credit_pack_prices p JOIN credit_packs c ON c.id = p.pack_id
WHERE p.stripe_price_id = @stripe_price_id;

-- name: ArchiveTiers :exec
-- ArchiveTiers is the first step of writing a catalogue: what stays on sale is written again afterwards in the same
-- transaction, so that ranks may be swapped and what the catalogue leaves out ends up archived.
UPDATE tiers SET archived_at = @now::timestamptz WHERE archived_at IS NULL;

-- name: ArchiveTierPrices :exec
UPDATE tier_prices SET archived_at = @now::timestamptz WHERE archived_at IS NULL;

-- name: ArchiveCreditPacks :exec
UPDATE credit_packs SET archived_at = @now::timestamptz WHERE archived_at IS NULL;

-- name: ArchiveCreditPackPrices :exec
UPDATE credit_pack_prices SET archived_at = @now::timestamptz WHERE archived_at IS NULL;

-- name: ArchiveMeters :exec
UPDATE meters SET archived_at = @now::timestamptz WHERE archived_at IS NULL;

-- name: UpsertTier :exec
INSERT INTO tiers (id, name, description, rank, requests_per_minute, burst, api_keys, allowance_amount, allowance_rollover,
    trial_days, max_quantity, stripe_product_id, updated_at)
VALUES (@id, @name, @description, @rank, @requests_per_minute, @burst, @api_keys, @allowance_amount, @allowance_rollover,
    @trial_days, @max_quantity, @stripe_product_id, @updated_at)
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, description = excluded.description, rank = excluded.rank,
    requests_per_minute = excluded.requests_per_minute, burst = excluded.burst, api_keys = excluded.api_keys,
    allowance_amount = excluded.allowance_amount, allowance_rollover = excluded.allowance_rollover,
    trial_days = excluded.trial_days, max_quantity = excluded.max_quantity,
    stripe_product_id = excluded.stripe_product_id, updated_at = excluded.updated_at, archived_at = NULL;

-- name: DeleteTierFeatures :exec
DELETE FROM tier_features WHERE tier_id = @tier_id;

-- name: InsertTierFeature :exec
INSERT INTO tier_features (tier_id, feature, name, value, position) VALUES (@tier_id, @feature, @name, @value, @position);

-- name: UpsertTierPrice :execrows
-- UpsertTierPrice puts a price on sale or archives it. It changes no row where the price is not the one that was sold under
-- this key: a price is never changed.
INSERT INTO tier_prices AS p (lookup_key, tier_id, interval, currency, amount, stripe_price_id, archived_at, created_at)
VALUES (@lookup_key, @tier_id, @interval, @currency, @amount, @stripe_price_id, @archived_at, @created_at)
ON CONFLICT (lookup_key) DO UPDATE
SET archived_at = CASE WHEN excluded.archived_at IS NULL THEN NULL ELSE coalesce(p.archived_at, excluded.archived_at) END
WHERE p.tier_id = excluded.tier_id AND p.interval = excluded.interval AND p.currency = excluded.currency
    AND p.amount = excluded.amount AND p.stripe_price_id = excluded.stripe_price_id;

-- name: UpsertCreditPack :exec
INSERT INTO credit_packs (id, name, credits, expires_after_days, stripe_product_id, updated_at)
VALUES (@id, @name, @credits, @expires_after_days, @stripe_product_id, @updated_at)
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, credits = excluded.credits, expires_after_days = excluded.expires_after_days,
    stripe_product_id = excluded.stripe_product_id, updated_at = excluded.updated_at, archived_at = NULL;

-- name: UpsertCreditPackPrice :execrows
-- UpsertCreditPackPrice is UpsertTierPrice for credit packs.
INSERT INTO credit_pack_prices AS p (lookup_key, pack_id, currency, amount, credits, stripe_price_id, archived_at, created_at)
VALUES (@lookup_key, @pack_id, @currency, @amount, @credits, @stripe_price_id, @archived_at, @created_at)
ON CONFLICT (lookup_key) DO UPDATE
SET archived_at = CASE WHEN excluded.archived_at IS NULL THEN NULL ELSE coalesce(p.archived_at, excluded.archived_at) END
WHERE p.pack_id = excluded.pack_id AND p.currency = excluded.currency AND p.amount = excluded.amount
    AND p.credits = excluded.credits AND p.stripe_price_id = excluded.stripe_price_id;

-- name: UpsertMeter :exec
INSERT INTO meters (id, name, unit, updated_at) VALUES (@id, @name, @unit, @updated_at)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, unit = excluded.unit, updated_at = excluded.updated_at, archived_at = NULL;

-- name: TryLockCatalog :one
-- TryLockCatalog takes the lock of `catalog apply` for the session, which holds it until it ends.
SELECT pg_try_advisory_lock(@key);

-- name: UnlockCatalog :one
SELECT pg_advisory_unlock(@key);

-- name: GetUnfinishedApply :one
SELECT * FROM catalog_applies WHERE finished_at IS NULL AND superseded_at IS NULL FOR NO KEY UPDATE;

-- name: InsertApply :exec
INSERT INTO catalog_applies (id, catalog, environment, created_at) VALUES (@id, @catalog, @environment::text, @created_at);

-- name: GetCatalogEnvironment :one
-- GetCatalogEnvironment is that of the last apply that was not given up, finished or not; NULL where it is not known.
SELECT environment FROM catalog_applies WHERE superseded_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 1;

-- name: SupersedeApply :exec
UPDATE catalog_applies SET superseded_at = @now::timestamptz WHERE id = @id;

-- name: FinishApply :execrows
-- FinishApply changes no row where the apply was finished or superseded by another process meanwhile.
UPDATE catalog_applies SET finished_at = @now::timestamptz
WHERE id = @id AND finished_at IS NULL AND superseded_at IS NULL;

-- name: RecordApplyStep :exec
-- RecordApplyStep keeps the first record: a resumed apply gets the same answer from Stripe.
INSERT INTO catalog_apply_steps (apply_id, step, stripe_id, done_at) VALUES (@apply_id, @step, @stripe_id, @done_at)
ON CONFLICT (apply_id, step) DO NOTHING;

-- name: ListApplySteps :many
SELECT * FROM catalog_apply_steps WHERE apply_id = @apply_id ORDER BY done_at, step;

-- name: GetLastApply :one
SELECT * FROM catalog_applies WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT 1;
