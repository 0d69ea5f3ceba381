-- +goose Up
-- What credit notes took off an invoice before it was paid, and what was to be paid after that, whatever of it came from the customer's
-- balance: what goes back is a share of this. Of invoices from before nothing is noted until they are looked at again.
ALTER TABLE invoices ADD COLUMN pre_payment_credited bigint NOT NULL DEFAULT 0;
ALTER TABLE invoices ADD COLUMN payable bigint NOT NULL GENERATED ALWAYS AS (total - pre_payment_credited) STORED;

-- +goose Down
ALTER TABLE invoices DROP COLUMN payable;
ALTER TABLE invoices DROP COLUMN pre_payment_credited;
