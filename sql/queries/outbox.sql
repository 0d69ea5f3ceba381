-- Queries of package outbox.

-- name: InsertOutbox :execrows
-- InsertOutbox changes no row where the natural key is there already: the message was written before.
INSERT INTO outbox (id, account_id, kind, natural_key, payload, created_at)
VALUES (@id, @account_id, @kind, @natural_key, @payload, @created_at)
ON CONFLICT (natural_key) DO NOTHING;
