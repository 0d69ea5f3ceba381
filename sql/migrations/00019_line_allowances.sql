-- +goose Up
-- How many credits a month the line's price gave when the line was first looked at paid: neither the catalogue nor the settings of a
-- later day change what was bought. Nothing where the price was not known then.
ALTER TABLE invoice_lines ADD COLUMN allowance bigint;

-- +goose Down
ALTER TABLE invoice_lines DROP COLUMN allowance;
