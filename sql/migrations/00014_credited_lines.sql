-- +goose Up
-- Whether a line gives back what another has billed. Its amount does not tell: under a full discount it is nothing either way.
ALTER TABLE invoice_lines ADD COLUMN credited boolean NOT NULL DEFAULT false;
UPDATE invoice_lines SET credited = true WHERE amount < 0;

-- +goose Down
ALTER TABLE invoice_lines DROP COLUMN credited;
