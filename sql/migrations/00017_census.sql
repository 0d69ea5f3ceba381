-- +goose Up
-- How far the daily comparison of each of Stripe's lists has come. A list may be longer than one run can read.
CREATE TABLE stripe_census_lists (
    path     text        NOT NULL CONSTRAINT stripe_census_lists_pkey PRIMARY KEY,
    -- When the reading that is under way began, and the last element of its last page whose differences are settled.
    begun_at timestamptz,
    after_id text        NOT NULL DEFAULT '',
    -- When the last reading began that came to the end of the list.
    ran_at   timestamptz,
    CONSTRAINT stripe_census_lists_place_check CHECK ((begun_at IS NULL) = (after_id = ''))
);

-- +goose Down
DROP TABLE stripe_census_lists;
