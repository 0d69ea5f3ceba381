-- Queries of package idempotency.

-- name: InsertIdempotencyKey :execrows
-- InsertIdempotencyKey waits for a rival transaction with the same key. It changes no row where that rival has committed; after
-- a rival's rollback it inserts as if there had been none. A row whose time is over is taken over.
INSERT INTO idempotency_keys AS k (principal, operation, key, request_hash, lease_until, created_at, expires_at)
VALUES (@principal, @operation, @key, @request_hash, @lease_until, @created_at, @expires_at)
ON CONFLICT (principal, operation, key) DO UPDATE
SET request_hash = excluded.request_hash, result = NULL, lease_until = excluded.lease_until,
    created_at = excluded.created_at, expires_at = excluded.expires_at
WHERE k.expires_at <= excluded.created_at;

-- name: GetIdempotencyKey :one
SELECT request_hash, result, lease_until FROM idempotency_keys
WHERE principal = @principal AND operation = @operation AND key = @key
FOR UPDATE;

-- name: FinishIdempotencyKey :execrows
UPDATE idempotency_keys SET result = @result, lease_until = NULL
WHERE principal = @principal AND operation = @operation AND key = @key;

-- name: TakeIdempotencyLease :execrows
-- TakeIdempotencyLease changes no row where somebody else took the lease over since it was read.
UPDATE idempotency_keys SET lease_until = @lease_until
WHERE principal = @principal AND operation = @operation AND key = @key AND result IS NULL AND lease_until = @before;

-- name: FinishIdempotencyLease :execrows
-- FinishIdempotencyLease changes no row where the lease is not the caller's any more.
UPDATE idempotency_keys SET result = @result, lease_until = NULL
WHERE principal = @principal AND operation = @operation AND key = @key AND result IS NULL AND lease_until = @lease_until;

-- name: ReleaseIdempotencyLease :execrows
DELETE FROM idempotency_keys
WHERE principal = @principal AND operation = @operation AND key = @key AND result IS NULL AND lease_until = @lease_until;

-- name: DeleteExpiredIdempotencyKeys :execrows
-- DeleteExpiredIdempotencyKeys passes over a key that is being taken over right now.
DELETE FROM idempotency_keys WHERE (principal, operation, key) IN (
    SELECT k.principal, k.operation, k.key FROM idempotency_keys k
    WHERE k.expires_at <= @now::timestamptz
    ORDER BY k.expires_at, k.principal, k.operation, k.key
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
) AND expires_at <= @now::timestamptz;
