-- +goose Up
-- When each of the looks that the clock makes at Stripe began for the last time that came to its end. Before the first their age counts
-- from here: one that never ends is late, too.
CREATE TABLE stripe_rounds (
    name     text        NOT NULL CONSTRAINT stripe_rounds_pkey PRIMARY KEY
        CONSTRAINT stripe_rounds_name_check CHECK (name IN ('sweep', 'reconcile', 'census')),
    begun_at timestamptz NOT NULL,
    ran_at   timestamptz
);
INSERT INTO stripe_rounds (name, begun_at) VALUES ('sweep', now()), ('reconcile', now()), ('census', now());

-- When the object was looked at in vain: the others come first.
ALTER TABLE stripe_objects ADD COLUMN tried_at timestamptz;
-- When somebody has last asked for the event to be done again: jobs from before that say nothing of it any more.
ALTER TABLE stripe_events ADD COLUMN replayed_at timestamptz;
-- Alarms are looked at again by reason.
CREATE INDEX outbox_alarms_idx ON outbox (natural_key text_pattern_ops) WHERE kind = 'operator_alarm';

-- +goose Down
DROP INDEX outbox_alarms_idx;
ALTER TABLE stripe_events DROP COLUMN replayed_at;
ALTER TABLE stripe_objects DROP COLUMN tried_at;
DROP TABLE stripe_rounds;
