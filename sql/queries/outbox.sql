-- Queries of package outbox.

-- name: InsertOutbox :execrows
-- InsertOutbox changes no row where the natural key is there already: the message was written before.
INSERT INTO outbox (id, account_id, kind, natural_key, payload, created_at)
VALUES (@id, @account_id, @kind, @natural_key, @payload, @created_at)
ON CONFLICT (natural_key) DO NOTHING;

-- name: TakeUnsentOutbox :many
-- TakeUnsentOutbox locks the oldest messages that wait, for the transaction that sends them; those that another delivery holds
-- are left to it.
SELECT id, account_id, kind, natural_key, payload, created_at FROM outbox
WHERE sent_at IS NULL
ORDER BY created_at, id
LIMIT @max_rows
FOR UPDATE SKIP LOCKED;

-- name: MarkOutboxSent :exec
UPDATE outbox SET sent_at = @sent_at::timestamptz WHERE id = ANY (@ids::uuid[]);
