-- Queries of package account.

-- name: GetIdentity :one
-- GetIdentity is what is asked on every request of a user, read through the cache. Rows of revoked_sessions whose time is over
-- tell of no living token.
SELECT u.id, u.status, u.email, u.email_as_of, u.email_confirmed_at, u.email_checked_at, u.tokens_valid_after, u.kept_session,
       a.id AS account_id, a.status AS account_status,
       ARRAY(SELECT r.session_id FROM revoked_sessions r
             WHERE r.user_id = u.id AND r.expires_at > @now::timestamptz ORDER BY r.session_id)::uuid[] AS revoked
FROM users u JOIN accounts a ON a.personal_of = u.id
WHERE u.issuer = @issuer AND u.subject = @subject;

-- name: InsertUser :execrows
-- InsertUser changes no row where the identity is there already. A rival that inserts it at the same time is waited for: once
-- it has committed, its user and account are there to be read.
INSERT INTO users (id, issuer, subject, email, email_as_of, created_at, updated_at)
VALUES (@id, @issuer, @subject, @email, @email_as_of, @now, @now)
ON CONFLICT ON CONSTRAINT users_issuer_subject_key DO NOTHING;

-- name: InsertPersonalAccount :exec
INSERT INTO accounts (id, kind, name, personal_of, created_at, updated_at)
VALUES (@id, 'personal', @name, @user_id::uuid, @now, @now);

-- name: InsertMembership :exec
INSERT INTO memberships (account_id, user_id, role, created_at) VALUES (@account_id, @user_id, @role, @now);

-- name: GetUser :one
SELECT sqlc.embed(u), a.id AS account_id FROM users u JOIN accounts a ON a.personal_of = u.id WHERE u.id = @id;

-- name: LockUser :one
-- LockUser serialises changes of a user's status. It does not hold up rows that refer to the user.
SELECT sqlc.embed(u), a.id AS account_id FROM users u JOIN accounts a ON a.personal_of = u.id
WHERE u.id = @id FOR NO KEY UPDATE OF u, a;

-- name: ListUsers :many
SELECT sqlc.embed(u), a.id AS account_id FROM users u JOIN accounts a ON a.personal_of = u.id
WHERE (u.created_at, u.id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY u.created_at DESC, u.id DESC
LIMIT @max_rows;

-- name: SearchUsers :many
-- SearchUsers finds by the beginning of the address; the pattern is escaped and in lower case.
SELECT sqlc.embed(u), a.id AS account_id FROM users u JOIN accounts a ON a.personal_of = u.id
WHERE lower(u.email) LIKE @pattern::text
  AND (u.created_at, u.id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY u.created_at DESC, u.id DESC
LIMIT @max_rows;

-- name: SetDisplayName :execrows
UPDATE users SET display_name = @display_name, updated_at = @now WHERE id = @id AND status = 'active';

-- name: SetUserStatus :exec
UPDATE users SET status = @status, updated_at = @now WHERE id = @id;

-- name: SetAccountStatus :exec
UPDATE accounts SET status = @status, updated_at = @now WHERE id = @id;

-- name: SetEmail :execrows
-- SetEmail changes no row where somebody told us later than @as_of. Another address is not confirmed before we have asked.
UPDATE users SET email = @email, email_as_of = @as_of, email_confirmed_at = NULL, email_checked_at = NULL, updated_at = @now
WHERE id = @id AND email <> @email AND email_as_of < @as_of AND status IN ('active', 'disabled');

-- name: ClaimEmailCheck :execrows
-- ClaimEmailCheck gives the right to ask Supabase Auth once in a while to one of all who want to.
UPDATE users SET email_checked_at = @now::timestamptz
WHERE id = @id AND email_confirmed_at IS NULL AND status = 'active'
  AND (email_checked_at IS NULL OR email_checked_at <= @not_since::timestamptz);

-- name: RecordEmail :execrows
-- RecordEmail keeps what Supabase Auth itself has answered. An answer about another address than a later token's changes nothing.
UPDATE users SET email = @email, email_as_of = greatest(email_as_of, @as_of::timestamptz), email_confirmed_at = sqlc.narg(confirmed_at), email_checked_at = @as_of::timestamptz, updated_at = @now
WHERE issuer = @issuer AND subject = @subject AND (email = @email OR email_as_of <= @as_of::timestamptz) AND status = 'active'
  AND (email, email_confirmed_at) IS DISTINCT FROM (@email, sqlc.narg(confirmed_at)::timestamptz);

-- name: RevokeSession :exec
INSERT INTO revoked_sessions (session_id, user_id, revoked_at, expires_at) VALUES (@session_id, @user_id, @now, @expires_at)
ON CONFLICT (session_id) DO UPDATE SET expires_at = greatest(revoked_sessions.expires_at, excluded.expires_at);

-- name: RevokeTokens :exec
-- RevokeTokens never moves the moment back.
UPDATE users SET tokens_valid_after = greatest(tokens_valid_after, @valid_after::timestamptz), kept_session = sqlc.narg(kept_session), updated_at = @now
WHERE id = @id;

-- name: DeleteExpiredSessions :execrows
DELETE FROM revoked_sessions WHERE expires_at <= @now::timestamptz;

-- name: GetAccount :one
SELECT * FROM accounts WHERE id = @id;

-- name: LockAccount :one
-- LockAccount serialises what counts or balances for an account. Rows that refer to the account may still be inserted.
SELECT * FROM accounts WHERE id = @id FOR NO KEY UPDATE;

-- name: GetMembership :one
SELECT role FROM memberships WHERE account_id = @account_id AND user_id = @user_id;

-- name: ListStandingFacts :many
-- ListStandingFacts has no row for an account without subscriptions. The rank is that of the catalogue, NULL for a tier that it
-- does not know.
SELECT sqlc.embed(s), t.rank FROM subscriptions s LEFT JOIN tiers t ON t.id = s.tier_id
WHERE s.account_id = ANY(@account_ids::uuid[])
ORDER BY s.account_id, s.created_at DESC, s.id DESC;

-- name: GetLowestTier :one
SELECT id FROM tiers WHERE archived_at IS NULL ORDER BY rank LIMIT 1;

-- name: ListLiveKeyHashes :many
SELECT hash FROM api_keys WHERE account_id = @account_id::uuid AND revoked_at IS NULL ORDER BY id;

-- name: RevokeAccountKeys :many
UPDATE api_keys SET revoked_at = @now::timestamptz, updated_at = @now WHERE account_id = @account_id::uuid AND revoked_at IS NULL
RETURNING hash;

-- name: InsertUserDeletion :execrows
INSERT INTO user_deletions (user_id, account_id, requested_at) VALUES (@user_id, @account_id, @now)
ON CONFLICT (user_id) DO NOTHING;

-- name: GetUserDeletion :one
SELECT sqlc.embed(d), u.issuer, u.subject FROM user_deletions d JOIN users u ON u.id = d.user_id WHERE d.user_id = @user_id;

-- name: LockUserDeletion :one
SELECT * FROM user_deletions WHERE user_id = @user_id FOR UPDATE;

-- name: MarkBillingClosed :exec
UPDATE user_deletions SET billing_closed_at = coalesce(billing_closed_at, @now::timestamptz) WHERE user_id = @user_id;

-- name: MarkIdentityClosed :exec
UPDATE user_deletions SET identity_closed_at = coalesce(identity_closed_at, @now::timestamptz) WHERE user_id = @user_id;

-- name: MarkDeletionFinished :exec
UPDATE user_deletions SET finished_at = @now::timestamptz WHERE user_id = @user_id;

-- name: ListOpenDeletions :many
-- ListOpenDeletions goes on behind the row that it ended with: rows that stay open must not hide those behind them.
SELECT user_id, requested_at FROM user_deletions
WHERE finished_at IS NULL AND requested_at <= @before::timestamptz
  AND (requested_at, user_id) > (@after_requested_at::timestamptz, @after_id::uuid)
ORDER BY requested_at, user_id LIMIT @max_rows;

-- name: ListOpenIdentities :many
-- ListOpenIdentities are users who are gone here and not yet at Supabase Auth.
SELECT user_id, requested_at FROM user_deletions
WHERE finished_at IS NOT NULL AND identity_closed_at IS NULL
  AND (requested_at, user_id) > (@after_requested_at::timestamptz, @after_id::uuid)
ORDER BY requested_at, user_id LIMIT @max_rows;

-- name: OldestOpenDeletion :one
-- OldestOpenDeletion is @now where none is open.
SELECT coalesce(min(requested_at), @now::timestamptz)::timestamptz FROM user_deletions WHERE finished_at IS NULL;

-- name: AnonymiseUser :exec
-- AnonymiseUser leaves a tombstone: issuer and subject stay, so that a living token never makes a fresh account.
UPDATE users SET email = '', email_confirmed_at = NULL, display_name = '', status = 'deleted', updated_at = @now WHERE id = @id;

-- name: AnonymiseAccount :exec
UPDATE accounts SET name = '', status = 'deleted', updated_at = @now WHERE id = @id;

-- name: AnonymiseCustomer :exec
UPDATE stripe_customers SET email = '', told_email = '', updated_at = @now WHERE account_id = @account_id;

-- name: AnonymisePaymentMethods :exec
-- AnonymisePaymentMethods leaves that there was one, and of which type.
UPDATE payment_methods SET brand = '', last4 = '', exp_month = 0, exp_year = 0, updated_at = @now WHERE account_id = @account_id;

-- name: AnonymiseInvoices :exec
-- AnonymiseInvoices removes the links to Stripe's pages: whoever has one reads name and address there. What was billed stays.
UPDATE invoices SET hosted_invoice_url = NULL, invoice_pdf = NULL, updated_at = @now
WHERE account_id = @account_id AND (hosted_invoice_url IS NOT NULL OR invoice_pdf IS NOT NULL);

-- name: AnonymiseMessages :exec
-- AnonymiseMessages removes the same links from the messages to the person.
UPDATE outbox SET payload = payload - 'hosted_invoice_url' WHERE account_id = @account_id::uuid AND payload ? 'hosted_invoice_url';

-- name: AnonymiseEvents :exec
-- AnonymiseEvents removes what Stripe sent about the account, of events that are over. The others are still needed; they lose
-- their payload soon after their end.
UPDATE stripe_events SET payload = NULL
WHERE payload IS NOT NULL AND status IN ('done', 'ignored')
  AND customer_id IN (SELECT c.stripe_id FROM stripe_customers c WHERE c.account_id = @account_id);

-- name: AnonymiseAudit :exec
-- AnonymiseAudit removes the network addresses that the person came from. What was done stays: it has no name in it.
UPDATE audit_log SET ip = ''
WHERE account_id = @account_id::uuid AND actor_kind = 'user' AND actor_id = @user_id::text AND ip <> '';

-- name: ForgetAnswers :exec
-- ForgetAnswers removes stored answers that may name the person: to the person's own requests, and to those of administrators,
-- whose answer is the user as stored in the JSON of account.Profile. No index helps with the latter: the table holds a day.
DELETE FROM idempotency_keys WHERE principal = @principal OR (operation = 'updateUser' AND result ->> 'ID' = @user_id::text);

-- name: ExportKeys :many
SELECT id, name, start, scopes, allowed_ips, created_at, expires_at, last_used_at, revoked_at FROM api_keys
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportInvoices :many
SELECT * FROM invoices WHERE account_id = @account_id AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportTransactions :many
SELECT * FROM transactions WHERE account_id = @account_id AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportCreditEntries :many
SELECT * FROM credit_entries WHERE account_id = @account_id AND seq > @after_seq ORDER BY seq LIMIT @max_rows;

-- name: ExportUsage :many
-- ExportUsage tells more than 64 bits hold as the most that they hold.
SELECT meter_id, date_trunc('month', hour, 'UTC')::timestamptz AS month, least(sum(quantity), 9223372036854775807)::bigint AS quantity FROM usage_hourly
WHERE account_id = @account_id
GROUP BY 1, 2 ORDER BY 2, 1;

-- name: ExportInvoiceLines :many
SELECT * FROM invoice_lines WHERE account_id = @account_id AND invoice_id = ANY(@invoice_ids::text[]) ORDER BY invoice_id, id;

-- name: ExportCustomers :many
SELECT * FROM stripe_customers
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportPaymentMethods :many
SELECT * FROM payment_methods
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportCheckoutAttempts :many
SELECT * FROM checkout_attempts
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportCheckoutSessions :many
SELECT * FROM checkout_sessions
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportSubscriptionChanges :many
SELECT * FROM subscription_changes
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportPayments :many
SELECT * FROM payment_intents
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportCharges :many
SELECT * FROM charges
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportRefunds :many
SELECT * FROM refunds
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportDisputes :many
SELECT * FROM disputes
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportCreditNotes :many
SELECT * FROM credit_notes
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportCreditLots :many
SELECT * FROM credit_lots
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportMessages :many
SELECT * FROM outbox
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ExportAudit :many
-- ExportAudit leaves out the network addresses of other people, such as administrators.
SELECT id, account_id, actor_kind, actor_id, action, target_kind, target_id, before, after, request_id,
    (CASE WHEN actor_kind = 'user' AND actor_id <> @user_id::text THEN '' ELSE ip END)::text AS ip, created_at
FROM audit_log
WHERE account_id = @account_id::uuid AND id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ListMemberAccounts :many
SELECT sqlc.embed(a), m.role FROM memberships m JOIN accounts a ON a.id = m.account_id WHERE m.user_id = @user_id ORDER BY a.id;
