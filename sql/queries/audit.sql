-- Queries of package audit.

-- name: InsertAuditEntry :exec
INSERT INTO audit_log (id, account_id, actor_kind, actor_id, action, target_kind, target_id, before, after, request_id, ip, created_at)
VALUES (@id, @account_id, @actor_kind, @actor_id, @action, @target_kind, @target_id, @before, @after, @request_id, @ip, @created_at);

-- name: ListAuditLog :many
-- ListAuditLog returns the newest first. An empty filter is none.
SELECT * FROM audit_log
WHERE (sqlc.narg(account_id)::uuid IS NULL OR account_id = sqlc.narg(account_id)::uuid)
    AND (@action::text = '' OR action = @action) AND (@target_id::text = '' OR target_id = @target_id)
    AND (sqlc.narg(before_at)::timestamptz IS NULL OR (created_at, id) < (sqlc.narg(before_at)::timestamptz, @before_id::uuid))
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;
