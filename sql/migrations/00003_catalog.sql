-- +goose Up
-- Written by `saaskit catalog apply` only.
CREATE TABLE tiers (
    id                  text        NOT NULL CONSTRAINT tiers_pkey PRIMARY KEY,
    name                text        NOT NULL,
    description         text        NOT NULL,
    rank                integer     NOT NULL,
    requests_per_minute integer     NOT NULL CONSTRAINT tiers_requests_check CHECK (requests_per_minute > 0),
    burst               integer     NOT NULL CONSTRAINT tiers_burst_check CHECK (burst > 0),
    api_keys            integer     NOT NULL CONSTRAINT tiers_api_keys_check CHECK (api_keys >= 0),
    allowance_amount    bigint      NOT NULL DEFAULT 0 CONSTRAINT tiers_allowance_check CHECK (allowance_amount >= 0),
    allowance_rollover  boolean     NOT NULL DEFAULT false,
    stripe_product_id   text        CONSTRAINT tiers_stripe_product_id_key UNIQUE,
    archived_at         timestamptz,
    updated_at          timestamptz NOT NULL
);
CREATE UNIQUE INDEX tiers_rank_key ON tiers (rank) WHERE archived_at IS NULL;

CREATE TABLE tier_features (
    tier_id  text    NOT NULL CONSTRAINT tier_features_tier_id_fkey REFERENCES tiers (id),
    feature  text    NOT NULL,
    name     text    NOT NULL,
    value    text    NOT NULL DEFAULT '',
    position integer NOT NULL,
    CONSTRAINT tier_features_pkey PRIMARY KEY (tier_id, feature)
);

-- A price is never changed: another amount is another row, and the old one is archived.
CREATE TABLE tier_prices (
    lookup_key      text        NOT NULL CONSTRAINT tier_prices_pkey PRIMARY KEY,
    tier_id         text        NOT NULL CONSTRAINT tier_prices_tier_id_fkey REFERENCES tiers (id),
    interval        text        NOT NULL CONSTRAINT tier_prices_interval_check CHECK (interval IN ('month', 'year')),
    currency        text        NOT NULL CONSTRAINT tier_prices_currency_check CHECK (currency ~ '^[a-z]{3}$'),
    amount          bigint      NOT NULL CONSTRAINT tier_prices_amount_check CHECK (amount >= 0),
    stripe_price_id text        NOT NULL CONSTRAINT tier_prices_stripe_price_id_key UNIQUE,
    archived_at     timestamptz,
    created_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX tier_prices_current_key ON tier_prices (tier_id, interval, currency) WHERE archived_at IS NULL;

CREATE TABLE credit_packs (
    id                 text        NOT NULL CONSTRAINT credit_packs_pkey PRIMARY KEY,
    name               text        NOT NULL,
    credits            bigint      NOT NULL CONSTRAINT credit_packs_credits_check CHECK (credits > 0),
    expires_after_days integer     CONSTRAINT credit_packs_expires_check CHECK (expires_after_days > 0),
    stripe_product_id  text        CONSTRAINT credit_packs_stripe_product_id_key UNIQUE,
    archived_at        timestamptz,
    updated_at         timestamptz NOT NULL
);

CREATE TABLE credit_pack_prices (
    lookup_key      text        NOT NULL CONSTRAINT credit_pack_prices_pkey PRIMARY KEY,
    pack_id         text        NOT NULL CONSTRAINT credit_pack_prices_pack_id_fkey REFERENCES credit_packs (id),
    currency        text        NOT NULL CONSTRAINT credit_pack_prices_currency_check CHECK (currency ~ '^[a-z]{3}$'),
    amount          bigint      NOT NULL CONSTRAINT credit_pack_prices_amount_check CHECK (amount >= 0),
    -- What was bought under this price, whatever the pack contains later.
    credits         bigint      NOT NULL CONSTRAINT credit_pack_prices_credits_check CHECK (credits > 0),
    stripe_price_id text        NOT NULL CONSTRAINT credit_pack_prices_stripe_price_id_key UNIQUE,
    archived_at     timestamptz,
    created_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX credit_pack_prices_current_key ON credit_pack_prices (pack_id, currency) WHERE archived_at IS NULL;

CREATE TABLE meters (
    id          text        NOT NULL CONSTRAINT meters_pkey PRIMARY KEY,
    name        text        NOT NULL,
    unit        text        NOT NULL,
    archived_at timestamptz,
    updated_at  timestamptz NOT NULL
);

-- One row for each `catalog apply`: the intent, written before Stripe is called, finished after the last call in the
-- transaction that writes the tables above.
CREATE TABLE catalog_applies (
    id            uuid        NOT NULL CONSTRAINT catalog_applies_pkey PRIMARY KEY,
    catalog       jsonb       NOT NULL,
    created_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    -- It was interrupted, and another catalogue was applied instead of resuming it.
    superseded_at timestamptz,
    CONSTRAINT catalog_applies_end_check CHECK (finished_at IS NULL OR superseded_at IS NULL)
);
CREATE UNIQUE INDEX catalog_applies_unfinished_key ON catalog_applies ((true)) WHERE finished_at IS NULL AND superseded_at IS NULL;
CREATE INDEX catalog_applies_finished_idx ON catalog_applies (finished_at DESC, id DESC) WHERE finished_at IS NOT NULL;

-- What an apply has done at Stripe so far, in the order of done_at.
CREATE TABLE catalog_apply_steps (
    apply_id  uuid        NOT NULL CONSTRAINT catalog_apply_steps_apply_id_fkey REFERENCES catalog_applies (id),
    step      text        NOT NULL,
    stripe_id text        NOT NULL,
    done_at   timestamptz NOT NULL,
    CONSTRAINT catalog_apply_steps_pkey PRIMARY KEY (apply_id, step)
);

-- +goose Down
DROP TABLE catalog_apply_steps, catalog_applies, meters, credit_pack_prices, credit_packs, tier_prices, tier_features, tiers;
