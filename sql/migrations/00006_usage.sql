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
    -- Exact, however much it is: the sum of quantities that each fit 64 bits need not.
    quantity   numeric     NOT NULL,
    events     bigint      NOT NULL,
    CONSTRAINT usage_hourly_pkey PRIMARY KEY (account_id, meter_id, hour, dimension)
);

-- make_usage_partitions makes the months that events may fall into from 35 days before a moment until two months after it,
-- and returns how many were missing. Months are those of UTC, whatever the session's time zone.
--
-- Whoever makes partitions waits for others who do. Partitions are made apart and attached: unlike CREATE TABLE ... PARTITION
-- OF, that lets events be written to the other months meanwhile.
-- +goose StatementBegin
CREATE FUNCTION make_usage_partitions(moment timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    utc   timestamp := moment AT TIME ZONE 'UTC';
    month timestamp := date_trunc('month', utc - interval '35 days');
    part  text;
    made  integer   := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('saaskit usage partitions', 0));
    WHILE month <= utc + interval '2 months' LOOP
        part := 'usage_events_' || to_char(month, 'YYYY_MM');
        IF to_regclass(quote_ident(part)) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
            EXECUTE format('ALTER TABLE usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                part, month::text || '+00', (month + interval '1 month')::text || '+00');
            made := made + 1;
        END IF;
        month := month + interval '1 month';
    END LOOP;
    RETURN made;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION make_usage_partitions;
DROP TABLE usage_hourly, usage_events;
