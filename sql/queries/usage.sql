-- Queries of package usage.

-- name: InsertUsageEvents :one
-- InsertUsageEvents adds the events that are not there yet and adds what it added to the hours, in one statement: the hours
-- count each event exactly once by construction. It returns how many were added. Rows are taken in the order of their keys, so
-- that two requests with the same events wait for each other instead of locking each other out.
WITH event AS (
    SELECT unnest(@event_ids::text[]) AS event_id, unnest(@occurred_ats::timestamptz[]) AS occurred_at,
        unnest(@meter_ids::text[]) AS meter_id, unnest(@dimensions::text[]) AS dimension, unnest(@quantities::bigint[]) AS quantity
), added AS (
    INSERT INTO usage_events (account_id, event_id, occurred_at, meter_id, dimension, quantity, received_at)
    SELECT @account_id::uuid, event_id, occurred_at, meter_id, dimension, quantity, @received_at::timestamptz
    FROM event
    ORDER BY event_id, occurred_at
    ON CONFLICT (account_id, event_id, occurred_at) DO NOTHING
    RETURNING meter_id, occurred_at, dimension, quantity
), hourly AS (
    INSERT INTO usage_hourly (account_id, meter_id, hour, dimension, quantity, events)
    SELECT @account_id::uuid, meter_id, date_trunc('hour', occurred_at, 'UTC') AS hour, dimension, sum(quantity), count(*)
    FROM added
    GROUP BY meter_id, hour, dimension
    ORDER BY meter_id, hour, dimension
    ON CONFLICT (account_id, meter_id, hour, dimension) DO UPDATE
    SET quantity = usage_hourly.quantity + excluded.quantity, events = usage_hourly.events + excluded.events
)
SELECT count(*) FROM added;

-- name: SumUsage :many
-- SumUsage adds up an account's hours of one meter by a unit of time (hour, day, month of UTC), the oldest first. More than 64
-- bits hold is the most that they hold.
SELECT date_trunc(@unit::text, hour, 'UTC')::timestamptz AS start, least(sum(quantity), 9223372036854775807)::bigint AS quantity, sum(events)::bigint AS events
FROM usage_hourly
WHERE account_id = @account_id AND meter_id = @meter_id AND hour >= @from_hour AND hour < @to_hour
GROUP BY start
ORDER BY start;

-- name: MeterWasKnown :one
-- MeterWasKnown finds archived meters too: what was used of them can still be read.
SELECT EXISTS (SELECT FROM meters WHERE id = @id);

-- name: MakeUsagePartitions :one
SELECT make_usage_partitions(@moment::timestamptz)::integer AS made;
