-- Queries of package billing.

-- name: GetAccountOwnerEmail :one
-- GetAccountOwnerEmail returns the address of the owner who came first.
SELECT u.email FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.account_id = @account_id AND m.role = 'owner'
ORDER BY m.created_at, m.user_id LIMIT 1;

-- name: GetCustomer :one
SELECT * FROM stripe_customers WHERE account_id = @account_id AND deleted_at IS NULL;

-- name: InsertCustomer :exec
INSERT INTO stripe_customers (id, account_id, email, told_email, created_at, updated_at)
VALUES (@id, @account_id, @email, @email, @created_at, @created_at);

-- name: RecordCustomer :execrows
-- RecordCustomer changes no row where the intent has another customer by now.
UPDATE stripe_customers SET stripe_id = @stripe_id::text, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND deleted_at IS NULL AND (stripe_id IS NULL OR stripe_id = @stripe_id::text);

-- name: ForgetCustomer :exec
-- ForgetCustomer keeps the row: a customer that is deleted at Stripe stays the account's.
UPDATE stripe_customers SET deleted_at = @now::timestamptz, updated_at = @now::timestamptz
WHERE account_id = @account_id AND stripe_id = @stripe_id::text AND deleted_at IS NULL;

-- name: ListCustomers :many
SELECT stripe_id::text AS stripe_id FROM stripe_customers
WHERE account_id = @account_id AND stripe_id IS NOT NULL AND deleted_at IS NULL ORDER BY created_at, id;

-- name: HasLiveSubscription :one
-- HasLiveSubscription tells whether there is one that has not ended. An incomplete one was never paid: its checkout decides.
SELECT EXISTS (
    SELECT 1 FROM subscriptions
    WHERE account_id = @account_id AND ended_at IS NULL AND status NOT IN ('canceled', 'incomplete', 'incomplete_expired')
);

-- name: GetLiveAttempt :one
SELECT * FROM checkout_attempts
WHERE account_id = @account_id AND kind = @kind AND status IN ('creating', 'open', 'expiring')
FOR UPDATE;

-- name: ListLiveAttempts :many
SELECT * FROM checkout_attempts
WHERE account_id = @account_id AND status IN ('creating', 'open', 'expiring') ORDER BY created_at, id;

-- name: InsertAttempt :exec
INSERT INTO checkout_attempts (id, account_id, kind, price_lookup_key, stripe_price_id, currency, tier_id, interval, pack_id, credits,
    success_url, cancel_url, quantity, trial_days, status, lease_until, expires_at, created_by, created_at, updated_at)
VALUES (@id, @account_id, @kind, @price_lookup_key, @stripe_price_id, @currency, @tier_id, @interval, @pack_id, @credits,
    @success_url, @cancel_url, @quantity, @trial_days, 'creating', @lease_until, @expires_at, @created_by, @created_at, @created_at);

-- name: LeaseAttempt :exec
-- LeaseAttempt is called under the lock of the row.
UPDATE checkout_attempts SET status = @status, lease_until = @lease_until, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id;

-- name: YieldAttempt :exec
-- YieldAttempt lets the next one resume at once. It changes no row that another one has taken over.
UPDATE checkout_attempts SET lease_until = NULL, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND lease_until = @lease_until AND status IN ('creating', 'expiring');

-- name: OpenAttempt :execrows
-- OpenAttempt changes no row that another one has taken over, or that has ended.
UPDATE checkout_attempts SET status = 'open', stripe_session_id = @stripe_session_id::text, url = @url, expires_at = @expires_at,
    lease_until = NULL, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND status = 'creating' AND lease_until = @lease_until
    AND (stripe_session_id IS NULL OR stripe_session_id = @stripe_session_id::text);

-- name: GiveUpAttempt :execrows
-- GiveUpAttempt ends an attempt of which nobody has the address. It changes no row that another one has taken over.
UPDATE checkout_attempts SET status = 'failed', lease_until = NULL, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND status = 'creating' AND lease_until IS NOT DISTINCT FROM @lease_until;

-- name: EndAttempt :execrows
-- EndAttempt writes down what Stripe says of the session. The event may have come first: then no row changes.
UPDATE checkout_attempts SET status = @status, lease_until = NULL, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND status IN ('creating', 'open', 'expiring');

-- name: GetSessionAttempt :one
SELECT * FROM checkout_attempts WHERE account_id = @account_id AND stripe_session_id = @stripe_session_id::text;

-- name: HadSubscription :one
-- HadSubscription tells whether the account ever paid for one, or tried one.
SELECT EXISTS (SELECT 1 FROM subscriptions WHERE account_id = @account_id AND status NOT IN ('incomplete', 'incomplete_expired'));

-- name: ListInvoiceLines :many
-- ListInvoiceLines are in Stripe's own order as far as it can be told: by period, then by amount, credits first.
SELECT * FROM invoice_lines WHERE account_id = @account_id AND invoice_id = ANY (@invoice_ids::text[])
ORDER BY invoice_id, period_start NULLS FIRST, amount, id;

-- name: SumTransactions :many
-- SumTransactions never adds up different currencies. What has not come about does not count.
SELECT currency, kind, sum(amount)::bigint AS amount, count(*) AS number FROM transactions
WHERE account_id = @account_id AND status NOT IN ('pending', 'failed', 'canceled', 'requires_action')
GROUP BY currency, kind ORDER BY currency, kind;

-- name: ListInvoices :many
-- ListInvoices leaves drafts out: they may still change. The first page begins at the end of time.
SELECT * FROM invoices
WHERE account_id = @account_id AND status <> 'draft' AND (created_at, id) < (@before_time::timestamptz, @before_id::text)
ORDER BY created_at DESC, id DESC LIMIT @max_rows;

-- name: ListTransactions :many
SELECT * FROM transactions
WHERE account_id = @account_id AND (occurred_at, id) < (@before_time::timestamptz, @before_id::uuid)
ORDER BY occurred_at DESC, id DESC LIMIT @max_rows;

-- name: GetLiveSubscription :one
-- GetLiveSubscription returns the newest that has not ended. An incomplete one was never paid: its checkout decides.
SELECT * FROM subscriptions
WHERE account_id = @account_id AND ended_at IS NULL AND status NOT IN ('canceled', 'incomplete', 'incomplete_expired')
ORDER BY created_at DESC, id DESC LIMIT 1;

-- name: GetRunningChange :one
-- GetRunningChange is called under the lock of the account.
SELECT * FROM subscription_changes WHERE account_id = @account_id AND status = 'running';

-- name: ListInterruptedChanges :many
-- ListInterruptedChanges are those that nobody has been at work on since a time; those that were tried last come last.
SELECT * FROM subscription_changes
WHERE status = 'running' AND coalesce(lease_until, updated_at) <= @idle_since::timestamptz
ORDER BY updated_at, id LIMIT @max_rows;

-- name: InsertChange :exec
INSERT INTO subscription_changes (id, account_id, subscription_id, kind, wish, status, lease_until, created_by, created_at, updated_at)
VALUES (@id, @account_id, @subscription_id, @kind, @wish, 'running', @lease_until, @created_by, @created_at, @created_at);

-- name: LeaseChange :exec
-- LeaseChange is called under the lock of the account.
UPDATE subscription_changes SET lease_until = @lease_until, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND status = 'running';

-- name: PlanChange :execrows
-- PlanChange changes no row that another one has taken over.
UPDATE subscription_changes SET plan = @plan, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND status = 'running' AND lease_until = @lease_until;

-- name: YieldChange :exec
-- YieldChange lets the next one resume at once. It changes no row that another one has taken over.
UPDATE subscription_changes SET lease_until = NULL, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND status = 'running' AND lease_until = @lease_until;

-- name: EndChange :execrows
-- EndChange changes no row that another one has taken over.
UPDATE subscription_changes SET status = @status, lease_until = NULL, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND status = 'running' AND lease_until IS NOT DISTINCT FROM @lease_until;

-- name: GetOpenInvoice :one
-- GetOpenInvoice returns the newest invoice of a subscription that is still to be paid, and how its payment stands.
SELECT sqlc.embed(i), p.status AS payment_status
FROM invoices i LEFT JOIN payment_intents p ON p.id = i.payment_intent_id AND p.account_id = i.account_id
WHERE i.account_id = @account_id AND i.subscription_id = @subscription_id::text AND i.status = 'open' AND i.amount_remaining > 0
ORDER BY i.created_at DESC, i.id DESC LIMIT 1;

-- name: ListUntoldEmails :many
-- ListUntoldEmails are the customers whose account's first owner has another address than Stripe was told. The account has to be
-- open: of a deleted user nothing more is told.
SELECT c.id, c.account_id, c.stripe_id::text AS stripe_id, o.email, o.email_as_of
FROM stripe_customers c
JOIN accounts a ON a.id = c.account_id AND a.status = 'active'
JOIN LATERAL (
    SELECT u.email, u.email_as_of FROM memberships m JOIN users u ON u.id = m.user_id
    WHERE m.account_id = c.account_id AND m.role = 'owner' AND u.status = 'active'
    ORDER BY m.created_at, m.user_id LIMIT 1
) o ON o.email <> c.told_email AND o.email <> ''
WHERE c.stripe_id IS NOT NULL AND c.deleted_at IS NULL AND c.id > @after
ORDER BY c.id LIMIT @max_rows;

-- name: RecordToldEmail :exec
UPDATE stripe_customers SET told_email = @email, updated_at = @now::timestamptz WHERE id = @id AND account_id = @account_id;

-- name: ListSubscribersOfPrice :many
SELECT DISTINCT s.id, s.account_id, s.status, i.quantity, s.current_period_end, 
    (s.cancel_at_period_end OR s.cancel_at IS NOT NULL)::boolean AS ending
FROM subscriptions s JOIN subscription_items i ON i.subscription_id = s.id AND i.account_id = s.account_id
WHERE i.price_id = @price_id AND s.ended_at IS NULL AND s.status NOT IN ('canceled', 'incomplete', 'incomplete_expired')
ORDER BY s.account_id, s.id;
