-- Queries of package audit.

-- name: InsertAuditEntry :exec
INSERT INTO audit_log (id, account_id, actor_kind, actor_id, action, target_kind, target_id, before, after, request_id, ip, created_at)
VALUES (@id, @account_id, @actor_kind, @actor_id, @action, @target_kind, @target_id, @before, @after, @request_id, @ip, @created_at);
