-- Queries of package outbox.

-- name: InsertOutbox :execrows
-- InsertOutbox changes no row where the natural key is there already: the message was written before.
INSERT INTO outbox (id, account_id, kind, natural_key, payload, created_at)
VALUES (@id, @account_id, @kind, @natural_key, @payload, @created_at)
ON CONFLICT (natural_key) DO NOTHING;

-- name: LeaseOutbox :many
-- LeaseOutbox takes the oldest messages that are due, for the delivery that asks, until its lease ends; those that another
-- delivery holds are left to it.
UPDATE outbox SET next_at = @lease_until::timestamptz, attempts = attempts + 1
WHERE id IN (
    SELECT o.id FROM outbox o
    WHERE o.sent_at IS NULL AND o.failed_at IS NULL AND (o.next_at IS NULL OR o.next_at <= @now::timestamptz)
    ORDER BY o.created_at, o.id
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
)
RETURNING id, account_id, kind, natural_key, payload, created_at, attempts;

-- name: MarkOutboxSent :exec
UPDATE outbox SET sent_at = @sent_at::timestamptz WHERE id = ANY (@ids::uuid[]) AND sent_at IS NULL;

-- name: PostponeOutbox :exec
-- PostponeOutbox changes nothing where another delivery has taken the message since.
UPDATE outbox SET next_at = @next_at::timestamptz WHERE id = @id AND attempts = @attempts AND sent_at IS NULL;

-- name: GiveUpOutbox :exec
UPDATE outbox SET failed_at = @now::timestamptz WHERE id = @id AND attempts = @attempts AND sent_at IS NULL;

-- name: GetOutboxAddress :one
-- GetOutboxAddress is the address of the account's owner: of the user whose personal account it is, else of the first owner.
SELECT u.email FROM accounts a
JOIN users u ON u.id = a.personal_of
    OR a.personal_of IS NULL AND u.id IN (SELECT m.user_id FROM memberships m WHERE m.account_id = a.id AND m.role = 'owner')
WHERE a.id = @account_id::uuid AND a.status <> 'deleted' AND u.status NOT IN ('deleting', 'deleted') AND u.email <> ''
ORDER BY u.created_at, u.id
LIMIT 1;
