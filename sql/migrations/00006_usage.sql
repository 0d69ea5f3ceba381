-- +goose Up
-- Partitions by month are made ahead by a job; there is no default partition, for it would block new ones.
CREATE TABLE usage_events (
    account_id  uuid        NOT NULL,
    event_id    text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    meter_id    text        NOT NULL,
    dimension   text        NOT NULL DEFAULT '',
    quantity    bigint      NOT NULL CONSTRAINT usage_events_quantity_check CHECK (quantity >= 0),
    received_at timestamptz NOT NULL,
    CONSTRAINT usage_events_pkey PRIMARY KEY (account_id, event_id, occurred_at)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE usage_hourly (
    account_id uuid        NOT NULL,
    meter_id   text        NOT NULL,
    hour       timestamptz NOT NULL,
    dimension  text        NOT NULL DEFAULT '',
    quantity   bigint      NOT NULL,
    events     bigint      NOT NULL,
    CONSTRAINT usage_hourly_pkey PRIMARY KEY (account_id, meter_id, hour, dimension)
);

-- +goose Down
DROP TABLE usage_hourly, usage_events;
