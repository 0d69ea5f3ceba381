-- +goose Up
ALTER TABLE outbox
    ADD COLUMN attempts  integer     NOT NULL DEFAULT 0,
    -- Not before: a delivery is at work on it until then, or the last one has failed.
    ADD COLUMN next_at   timestamptz,
    -- When it was given up.
    ADD COLUMN failed_at timestamptz;
DROP INDEX outbox_unsent_idx;
CREATE INDEX outbox_unsent_idx ON outbox (created_at, id) WHERE sent_at IS NULL AND failed_at IS NULL;

-- +goose Down
DROP INDEX outbox_unsent_idx;
ALTER TABLE outbox DROP COLUMN attempts, DROP COLUMN next_at, DROP COLUMN failed_at;
CREATE INDEX outbox_unsent_idx ON outbox (created_at, id) WHERE sent_at IS NULL;
