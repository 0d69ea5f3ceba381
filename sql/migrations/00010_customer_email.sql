-- +goose Up
-- The address that Stripe was told last. Where the owner has another one by now, Stripe has not heard of it.
ALTER TABLE stripe_customers ADD COLUMN told_email text NOT NULL DEFAULT '';
UPDATE stripe_customers SET told_email = email;

-- +goose Down
ALTER TABLE stripe_customers DROP COLUMN told_email;
