-- Queries of package apikey.

-- name: GetCredential :one
-- GetCredential is what is asked on every request with a key, read through the cache. It finds revoked keys as well, so that
-- their holder is told. The states of account and user are NULL for a service key, that of the user also for a team's.
SELECT k.id, k.account_id, k.scopes, k.allowed_ips, k.expires_at, k.revoked_at,
       a.status AS account_status, u.status AS user_status
FROM api_keys k
LEFT JOIN accounts a ON a.id = k.account_id
LEFT JOIN users u ON u.id = a.personal_of
WHERE k.hash = @hash;

-- name: InsertAPIKey :one
INSERT INTO api_keys (id, account_id, name, hash, start, scopes, allowed_ips, created_by, created_at, updated_at, expires_at)
VALUES (@id, @account_id, @name, @hash, @start, @scopes, @allowed_ips, @created_by, @now, @now, @expires_at)
RETURNING *;

-- name: CountLiveAPIKeys :one
-- CountLiveAPIKeys leaves out keys that were replaced: they end by themselves, and there is one for each key at most.
SELECT count(*) FROM api_keys
WHERE account_id = @account_id::uuid AND revoked_at IS NULL AND replaced_by IS NULL
  AND (expires_at IS NULL OR expires_at > @now::timestamptz);

-- name: GetAPIKey :one
SELECT * FROM api_keys WHERE id = @id AND account_id = @account_id::uuid AND revoked_at IS NULL;

-- name: LockAPIKey :one
-- LockAPIKey finds revoked keys as well.
SELECT * FROM api_keys WHERE id = @id AND account_id = @account_id::uuid FOR NO KEY UPDATE;

-- name: LockAnyAPIKey :one
-- LockAnyAPIKey is for the operator: whoever the key belongs to.
SELECT * FROM api_keys WHERE id = @id FOR NO KEY UPDATE;

-- name: ListAPIKeys :many
-- ListAPIKeys returns the newest first, from after the position on where one is given. The id breaks ties.
SELECT * FROM api_keys
WHERE account_id = @account_id::uuid AND revoked_at IS NULL
  AND (sqlc.narg(after_time)::timestamptz IS NULL OR (created_at, id) < (sqlc.narg(after_time)::timestamptz, sqlc.narg(after_id)::uuid))
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: ListServiceKeys :many
SELECT * FROM api_keys WHERE account_id IS NULL AND revoked_at IS NULL ORDER BY created_at DESC, id DESC LIMIT @max_rows;

-- name: UpdateAPIKey :one
UPDATE api_keys SET name = @name, scopes = @scopes, allowed_ips = @allowed_ips, expires_at = @expires_at, updated_at = @now
WHERE id = @id AND account_id = @account_id::uuid AND revoked_at IS NULL
RETURNING *;

-- name: RevokeAPIKey :one
UPDATE api_keys SET revoked_at = @now::timestamptz, updated_at = @now WHERE id = @id AND revoked_at IS NULL
RETURNING *;

-- name: ReplaceAPIKey :one
-- ReplaceAPIKey ends a key now or when its overlap is over, never later than it would have ended.
UPDATE api_keys SET replaced_by = @replaced_by::uuid, updated_at = @now::timestamptz, revoked_at = sqlc.narg(revoked_at)::timestamptz,
    expires_at = least(expires_at, @ends_at::timestamptz)
WHERE id = @id AND account_id = @account_id::uuid
RETURNING *;

-- name: RevokeReplacedAPIKeys :many
-- RevokeReplacedAPIKeys ends the overlap of the keys that a key has replaced, and returns their hashes.
UPDATE api_keys SET revoked_at = @now::timestamptz, updated_at = @now
WHERE replaced_by = @replaced_by::uuid AND account_id = @account_id::uuid AND revoked_at IS NULL
RETURNING hash;

-- name: TouchAPIKeys :execrows
-- TouchAPIKeys never moves a time back. It takes the locks in the order of the ids, for other instances do the same at the
-- same time.
WITH used AS (
    SELECT unnest(@ids::uuid[]) AS id, unnest(@times::timestamptz[]) AS at
), locked AS (
    SELECT k.id FROM api_keys k WHERE k.id = ANY(@ids::uuid[]) ORDER BY k.id FOR NO KEY UPDATE
)
UPDATE api_keys k SET last_used_at = used.at
FROM used JOIN locked ON locked.id = used.id
WHERE k.id = used.id AND (k.last_used_at IS NULL OR k.last_used_at < used.at);
