-- Queries of package stripehook: the inbox, the fence, and the mirrors of what Stripe keeps.

-- name: SetStatementTimeout :exec
-- SetStatementTimeout bounds the statements of the transaction on the server too: a client that gives up does not end a
-- statement that waits for a lock.
SELECT set_config('statement_timeout', @milliseconds::text, true);

-- name: InsertStripeEvent :one
-- InsertStripeEvent stores an event, or counts one more delivery of it: delivery_count is 1 for a new row. The row stays
-- locked, so that deliveries of one event that arrive together see each other's job. The bytes of the first delivery are
-- kept: endpoints of different versions send the same event in different shapes.
INSERT INTO stripe_events (id, stripe_account, livemode, type, api_version, object_kind, object_id, root_id, customer_id, event_created,
    payload, sha256, source, secret_index, status, reason, received_at, done_at)
VALUES (@id, @stripe_account, @livemode, @type, @api_version, @object_kind, @object_id, @root_id, @customer_id, @event_created,
    @payload, @sha256, @source, @secret_index, @status, @reason, @received_at, @done_at)
ON CONFLICT (id) DO UPDATE SET delivery_count = stripe_events.delivery_count + 1
RETURNING status, delivery_count;

-- name: HasLiveStripeJob :one
-- HasLiveStripeJob tells whether River will still run a job for the event. The containment uses River's index on args.
SELECT EXISTS (
    SELECT 1 FROM river_job
    WHERE kind = 'stripe_event' AND args @> jsonb_build_object('event_id', @event_id::text)
        AND state IN ('available', 'pending', 'retryable', 'running', 'scheduled')
);

-- name: CancelWaitingStripeJobs :exec
-- CancelWaitingStripeJobs takes back the jobs of an event that wait for their turn or pause after a failure: they may come in a day, and
-- have used up attempts. One that runs goes on.
UPDATE river_job SET state = 'cancelled', finalized_at = now()
WHERE kind = 'stripe_event' AND args @> jsonb_build_object('event_id', @event_id::text)
    AND state IN ('available', 'pending', 'retryable', 'scheduled');

-- name: InsertStripeQuarantine :execrows
INSERT INTO stripe_quarantine (id, reason, payload, sha256, secret_index, received_at)
VALUES (@id, @reason, @payload, @sha256, @secret_index, @received_at)
ON CONFLICT (sha256) DO NOTHING;

-- name: GetStripeEvent :one
SELECT * FROM stripe_events WHERE id = @id;

-- name: FinishStripeEvent :execrows
-- FinishStripeEvent changes no row where the event was finished by somebody else: the look of another event covered it, or
-- its job ran twice.
UPDATE stripe_events SET status = @status, reason = @reason, done_at = @now::timestamptz
WHERE id = @id AND status = 'pending';

-- name: FailStripeEvent :one
-- FailStripeEvent records a failed attempt, and with the last one that the event is dead. The last attempt of a job that is older than
-- the last replay ends nothing: that has begun anew, with a job of its own.
UPDATE stripe_events SET attempts = attempts + 1, last_error = @last_error,
    status = CASE WHEN @last::boolean AND COALESCE(sqlc.narg(queued_at)::timestamptz >= replayed_at, true) THEN 'dead' ELSE status END,
    done_at = CASE WHEN @last AND COALESCE(sqlc.narg(queued_at) >= replayed_at, true) THEN @now::timestamptz END
WHERE id = @id AND status = 'pending'
RETURNING (status = 'dead')::boolean AS dead;

-- name: ParkStripeEvent :execrows
UPDATE stripe_events SET parks = parks + 1, last_error = @reason WHERE id = @id AND status = 'pending';

-- name: ListPendingStripeEvents :many
-- ListPendingStripeEvents returns the events that a look at the object covers. It must run before the look takes its
-- sequence: only what was committed by then is known to be in the answer of every later sequence, too.
SELECT id FROM stripe_events
WHERE root_id = @root_id AND status = 'pending' AND type = ANY (@types::text[])
ORDER BY id;

-- name: CoverStripeEvents :execrows
-- CoverStripeEvents finishes events by the look that another one asked for. They are locked in the order of their ids.
UPDATE stripe_events SET status = 'done', reason = 'covered', done_at = @now::timestamptz
WHERE id IN (SELECT e.id FROM stripe_events e WHERE e.id = ANY (@ids::text[]) AND e.status = 'pending' ORDER BY e.id FOR UPDATE);

-- name: ListOrphanedStripeEvents :many
-- ListOrphanedStripeEvents returns pending events for which no job will run, and whether a job of theirs was given up: one that is no
-- older than the last replay, for that begins anew. Both times are the database's: the job that a replay makes is made in its
-- transaction. It skips rows that a delivery holds at this moment.
SELECT e.id, EXISTS (
    SELECT 1 FROM river_job d
    WHERE d.kind = 'stripe_event' AND d.args @> jsonb_build_object('event_id', e.id) AND d.state = 'discarded'
        AND (e.replayed_at IS NULL OR d.created_at >= e.replayed_at)
) AS exhausted
FROM stripe_events e
WHERE e.status = 'pending' AND e.received_at < @before::timestamptz AND NOT EXISTS (
    SELECT 1 FROM river_job j
    WHERE j.kind = 'stripe_event' AND j.args @> jsonb_build_object('event_id', e.id)
        AND j.state IN ('available', 'pending', 'retryable', 'running', 'scheduled')
)
ORDER BY e.received_at, e.id
LIMIT @max_rows
FOR UPDATE OF e SKIP LOCKED;

-- name: EndQuarantinedPayloads :execrows
-- EndQuarantinedPayloads removes signed bytes that were no event, after their time. Nothing can be made of them that their reason
-- and their hash do not tell.
UPDATE stripe_quarantine SET payload = NULL WHERE id IN (
    SELECT q.id FROM stripe_quarantine q
    WHERE q.payload IS NOT NULL AND q.received_at <= @before::timestamptz
    ORDER BY q.id
    LIMIT @max_rows
    FOR UPDATE OF q SKIP LOCKED
);

-- name: EndAbandonedPayloads :execrows
-- EndAbandonedPayloads removes, after their time, the bytes of events that are dead or quarantined and whose account is deleted: nobody
-- is going to ask for their repair any more.
UPDATE stripe_events SET payload = NULL WHERE id IN (
    SELECT e.id FROM stripe_events e
    WHERE e.payload IS NOT NULL AND e.status IN ('dead', 'quarantined') AND e.received_at <= @before::timestamptz AND e.customer_id IN (
        SELECT c.stripe_id FROM stripe_customers c JOIN accounts a ON a.id = c.account_id WHERE a.status = 'deleted'
    )
    ORDER BY e.id
    LIMIT @max_rows
    FOR UPDATE OF e SKIP LOCKED
);

-- name: IsStripeAccountDeleted :one
SELECT EXISTS (SELECT 1 FROM accounts WHERE id = @id AND status = 'deleted');

-- name: EndStripePayloads :execrows
-- EndStripePayloads removes the bytes of events that are over: after their time, and at once where their account is deleted.
-- Whatever else is known of an event stays, its id above all. An event that is dead or quarantined has not been handled: it
-- keeps its bytes until it has.
UPDATE stripe_events SET payload = NULL WHERE id IN (
    SELECT e.id FROM stripe_events e
    WHERE e.payload IS NOT NULL AND e.status IN ('done', 'ignored') AND (e.done_at <= @before::timestamptz OR e.customer_id IN (
        SELECT c.stripe_id FROM stripe_customers c JOIN accounts a ON a.id = c.account_id WHERE a.status = 'deleted'
    ))
    ORDER BY e.id
    LIMIT @max_rows
    FOR UPDATE OF e SKIP LOCKED
);

-- name: TakeStripeSequence :one
INSERT INTO stripe_objects (id, kind, next_seq) VALUES (@id, @kind, 1)
ON CONFLICT (id) DO UPDATE SET next_seq = stripe_objects.next_seq + 1
RETURNING next_seq, deleted_at;

-- name: AdvanceStripeObject :execrows
-- AdvanceStripeObject changes no row where a later look was applied before; it then waits for that look's transaction, so
-- that what follows reads what it has stored.
UPDATE stripe_objects SET applied_seq = @seq, last_fetch_at = @now::timestamptz
WHERE id = @id AND applied_seq < @seq;

-- name: MarkStripeObjectDeleted :exec
UPDATE stripe_objects SET deleted_at = COALESCE(deleted_at, @now::timestamptz) WHERE id = @id;

-- name: StripeInboxState :one
-- StripeInboxState leaves the age of what is parked out: an event of another environment waits for a quarter of an hour by intent.
SELECT COALESCE(min(received_at) FILTER (WHERE status = 'pending' AND NOT (parks > 0 AND attempts = 0)), @now::timestamptz)::timestamptz AS oldest_pending,
    count(*) FILTER (WHERE status = 'pending') AS pending,
    count(*) FILTER (WHERE status = 'pending' AND parks > 0 AND attempts = 0) AS parked,
    count(*) FILTER (WHERE status = 'dead') AS dead
FROM stripe_events WHERE status IN ('pending', 'dead');

-- name: IsStripeCustomerKnown :one
SELECT EXISTS (SELECT 1 FROM stripe_customers WHERE stripe_id = @stripe_id::text);

-- name: LockStripeOwner :one
-- LockStripeOwner finds whose customer it is and locks the account before everything that is written for it. It leaves the
-- account's key free: whoever reads credits for the first time makes a row that refers to the account without a lock of it,
-- and would be waited for by the grant that waits here.
SELECT a.id FROM accounts a JOIN stripe_customers c ON c.account_id = a.id
WHERE c.stripe_id = @stripe_id::text
FOR NO KEY UPDATE OF a;

-- name: LockStripeAccount :one
SELECT id FROM accounts WHERE id = @id AND status <> 'deleted' FOR NO KEY UPDATE;

-- name: GetLiveStripeCustomer :one
SELECT id, stripe_id FROM stripe_customers WHERE account_id = @account_id AND deleted_at IS NULL;

-- name: InsertAdoptedStripeCustomer :execrows
INSERT INTO stripe_customers (id, account_id, stripe_id, created_at, updated_at)
VALUES (@id, @account_id, @stripe_id::text, @now::timestamptz, @now::timestamptz)
ON CONFLICT (stripe_id) DO NOTHING;

-- name: FillStripeCustomer :execrows
-- FillStripeCustomer completes an intent; it never changes a customer that is there.
UPDATE stripe_customers SET stripe_id = @stripe_id::text, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND stripe_id IS NULL;

-- name: GetStripeCustomerBalance :one
-- GetStripeCustomerBalance reads the row under the lock of its account.
SELECT balance, currency FROM stripe_customers WHERE stripe_id = @stripe_id::text AND account_id = @account_id;

-- name: UpdateStripeCustomer :execrows
-- UpdateStripeCustomer keeps the address of a deleted account out: Stripe may go on telling of it. The caller has the account
-- locked, so a deletion comes before this or empties the address after it.
UPDATE stripe_customers SET
    email = CASE WHEN EXISTS (SELECT FROM accounts a WHERE a.id = @account_id AND a.status = 'deleted') THEN '' ELSE @email::text END,
    default_payment_method = @default_payment_method, balance = @balance,
    currency = @currency, updated_at = @now::timestamptz
WHERE stripe_id = @stripe_id::text AND account_id = @account_id;

-- name: DeleteStripeCustomer :execrows
-- DeleteStripeCustomer keeps the row: its id stays the account's for ever.
UPDATE stripe_customers SET deleted_at = @now::timestamptz, updated_at = @now::timestamptz
WHERE stripe_id = @stripe_id::text AND account_id = @account_id AND deleted_at IS NULL;

-- name: ListSubscriptionsOfCustomer :many
SELECT s.id FROM subscriptions s JOIN stripe_customers c ON c.account_id = s.account_id AND c.stripe_id = s.customer_id
WHERE s.customer_id = @customer_id ORDER BY s.id;

-- name: GetMirroredSubscription :one
-- GetMirroredSubscription reads the row under the lock of its account.
SELECT * FROM subscriptions WHERE id = @id AND account_id = @account_id;

-- name: IsStripeObjectApplied :one
SELECT EXISTS (SELECT 1 FROM stripe_objects WHERE id = @id AND applied_seq > 0);

-- name: UpsertSubscription :execrows
-- UpsertSubscription changes no row where the subscription is another account's: it never moves. A period that Stripe did
-- not give is unknown and leaves the last one that is known.
INSERT INTO subscriptions (id, account_id, customer_id, status, tier_id, price_id, interval, currency, quantity,
    current_period_start, current_period_end, access_end, cancel_at, cancel_at_period_end, canceled_at, ended_at,
    trial_start, trial_end, past_due_since, pause_behavior, paused_since, latest_invoice_id, livemode, access_known,
    pending_price_id, pending_quantity, pending_expires_at, schedule_id, scheduled_price_id, scheduled_quantity, scheduled_at,
    created_at, updated_at)
VALUES (@id, @account_id, @customer_id, @status, @tier_id, @price_id, @interval, @currency, @quantity,
    @current_period_start, @current_period_end, @access_end, @cancel_at, @cancel_at_period_end, @canceled_at, @ended_at,
    @trial_start, @trial_end, @past_due_since, sqlc.narg(pause_behavior)::text,
    sqlc.narg(paused_since)::timestamptz, @latest_invoice_id, @livemode, @access_known,
    @pending_price_id, @pending_quantity, @pending_expires_at, @schedule_id, @scheduled_price_id, @scheduled_quantity, @scheduled_at,
    @created_at, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET
    customer_id = EXCLUDED.customer_id, status = EXCLUDED.status, tier_id = EXCLUDED.tier_id, price_id = EXCLUDED.price_id,
    interval = EXCLUDED.interval, currency = EXCLUDED.currency, quantity = EXCLUDED.quantity,
    current_period_start = COALESCE(EXCLUDED.current_period_start, subscriptions.current_period_start),
    current_period_end = COALESCE(EXCLUDED.current_period_end, subscriptions.current_period_end),
    access_end = COALESCE(EXCLUDED.access_end, subscriptions.access_end),
    cancel_at = EXCLUDED.cancel_at, cancel_at_period_end = EXCLUDED.cancel_at_period_end, canceled_at = EXCLUDED.canceled_at,
    ended_at = EXCLUDED.ended_at, trial_start = EXCLUDED.trial_start, trial_end = EXCLUDED.trial_end,
    past_due_since = EXCLUDED.past_due_since, pause_behavior = EXCLUDED.pause_behavior,
    paused_since = EXCLUDED.paused_since,
    latest_invoice_id = EXCLUDED.latest_invoice_id, access_known = EXCLUDED.access_known,
    pending_price_id = EXCLUDED.pending_price_id, pending_quantity = EXCLUDED.pending_quantity,
    pending_expires_at = EXCLUDED.pending_expires_at, schedule_id = EXCLUDED.schedule_id,
    scheduled_price_id = EXCLUDED.scheduled_price_id, scheduled_quantity = EXCLUDED.scheduled_quantity,
    scheduled_at = EXCLUDED.scheduled_at, updated_at = EXCLUDED.updated_at
WHERE subscriptions.account_id = EXCLUDED.account_id;

-- name: DeleteOtherSubscriptionItems :exec
DELETE FROM subscription_items
WHERE subscription_id = @subscription_id AND account_id = @account_id AND NOT id = ANY (@ids::text[]);

-- name: UpsertSubscriptionItem :execrows
-- UpsertSubscriptionItem keeps a period that Stripe does not give any more as long as the subscription's own has not moved past it.
INSERT INTO subscription_items (id, subscription_id, account_id, price_id, quantity, current_period_start, current_period_end)
VALUES (@id, @subscription_id, @account_id, @price_id, @quantity, @current_period_start, @current_period_end)
ON CONFLICT (id) DO UPDATE SET price_id = EXCLUDED.price_id, quantity = EXCLUDED.quantity,
    current_period_start = CASE
        WHEN EXCLUDED.current_period_end IS NULL AND (sqlc.narg(own_start)::timestamptz > subscription_items.current_period_start
            OR sqlc.narg(own_end)::timestamptz > subscription_items.current_period_end) THEN NULL
        ELSE COALESCE(EXCLUDED.current_period_start, subscription_items.current_period_start)
    END,
    current_period_end = CASE
        WHEN EXCLUDED.current_period_end IS NULL AND (sqlc.narg(own_start)::timestamptz > subscription_items.current_period_start
            OR sqlc.narg(own_end)::timestamptz > subscription_items.current_period_end) THEN NULL
        ELSE COALESCE(EXCLUDED.current_period_end, subscription_items.current_period_end)
    END
WHERE subscription_items.subscription_id = EXCLUDED.subscription_id AND subscription_items.account_id = EXCLUDED.account_id;

-- name: UpsertInvoice :execrows
-- UpsertInvoice changes no row where the invoice is another account's: it never moves.
INSERT INTO invoices (id, account_id, customer_id, subscription_id, number, status, billing_reason, currency, subtotal, total,
    pre_payment_credited, amount_due, amount_paid, amount_remaining, starting_balance, ending_balance, attempt_count, payment_intent_id, charge_id,
    paid_out_of_band, hosted_invoice_url, invoice_pdf, finalization_error, period_start, period_end, created_at, finalized_at, paid_at, next_payment_attempt,
    updated_at)
VALUES (@id, @account_id, @customer_id, @subscription_id, @number, @status, @billing_reason, @currency, @subtotal, @total,
    @pre_payment_credited, @amount_due, @amount_paid, @amount_remaining, @starting_balance, @ending_balance, @attempt_count, @payment_intent_id, @charge_id,
    @paid_out_of_band, @hosted_invoice_url, @invoice_pdf, @finalization_error, @period_start, @period_end, @created_at, @finalized_at, @paid_at,
    @next_payment_attempt, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET
    customer_id = EXCLUDED.customer_id, subscription_id = EXCLUDED.subscription_id, number = EXCLUDED.number,
    status = EXCLUDED.status, billing_reason = EXCLUDED.billing_reason, currency = EXCLUDED.currency,
    subtotal = EXCLUDED.subtotal, total = EXCLUDED.total, pre_payment_credited = EXCLUDED.pre_payment_credited,
    amount_due = EXCLUDED.amount_due, amount_paid = EXCLUDED.amount_paid,
    amount_remaining = EXCLUDED.amount_remaining, starting_balance = EXCLUDED.starting_balance,
    ending_balance = EXCLUDED.ending_balance, attempt_count = EXCLUDED.attempt_count,
    payment_intent_id = EXCLUDED.payment_intent_id, charge_id = EXCLUDED.charge_id,
    paid_out_of_band = EXCLUDED.paid_out_of_band, hosted_invoice_url = EXCLUDED.hosted_invoice_url,
    invoice_pdf = EXCLUDED.invoice_pdf, period_start = EXCLUDED.period_start, period_end = EXCLUDED.period_end,
    finalization_error = EXCLUDED.finalization_error, finalized_at = EXCLUDED.finalized_at, paid_at = EXCLUDED.paid_at,
    next_payment_attempt = EXCLUDED.next_payment_attempt, updated_at = EXCLUDED.updated_at
WHERE invoices.account_id = EXCLUDED.account_id;

-- name: GetMirroredInvoice :one
-- GetMirroredInvoice reads the row under the lock of its account.
SELECT * FROM invoices WHERE id = @id AND account_id = @account_id;

-- name: DeleteInvoice :execrows
-- DeleteInvoice keeps the row, under a status of its own: Stripe deletes drafts only.
UPDATE invoices SET status = 'deleted', updated_at = @now::timestamptz WHERE id = @id AND account_id = @account_id;

-- name: DeleteOtherInvoiceLines :exec
DELETE FROM invoice_lines WHERE invoice_id = @invoice_id AND account_id = @account_id AND NOT id = ANY (@ids::text[]);

-- name: UpsertInvoiceLine :execrows
INSERT INTO invoice_lines (id, invoice_id, account_id, price_id, subscription_item_id, description, amount, currency, quantity,
    proration, credited, period_start, period_end)
VALUES (@id, @invoice_id, @account_id, @price_id, @subscription_item_id, @description, @amount, @currency, @quantity,
    @proration, @credited, @period_start, @period_end)
ON CONFLICT (invoice_id, id) DO UPDATE SET
    price_id = EXCLUDED.price_id, subscription_item_id = EXCLUDED.subscription_item_id, description = EXCLUDED.description,
    amount = EXCLUDED.amount, currency = EXCLUDED.currency, quantity = EXCLUDED.quantity, proration = EXCLUDED.proration,
    credited = EXCLUDED.credited, period_start = EXCLUDED.period_start, period_end = EXCLUDED.period_end
WHERE invoice_lines.account_id = EXCLUDED.account_id;

-- name: GetPaymentIntentStatus :one
SELECT status FROM payment_intents WHERE id = @id AND account_id = @account_id;

-- name: UpsertPaymentIntent :execrows
-- UpsertPaymentIntent changes no row where the payment is another account's: it never moves.
INSERT INTO payment_intents (id, account_id, customer_id, status, amount, currency, invoice_id, latest_charge_id, created_at, updated_at)
VALUES (@id, @account_id, @customer_id, @status, @amount, @currency, @invoice_id, @latest_charge_id, @created_at, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET
    customer_id = EXCLUDED.customer_id, status = EXCLUDED.status, amount = EXCLUDED.amount, currency = EXCLUDED.currency,
    invoice_id = EXCLUDED.invoice_id, latest_charge_id = EXCLUDED.latest_charge_id, updated_at = EXCLUDED.updated_at
WHERE payment_intents.account_id = EXCLUDED.account_id;

-- name: UpsertTransaction :execrows
-- UpsertTransaction changes no row where the movement is another account's: it never moves.
INSERT INTO transactions (id, account_id, kind, natural_key, status, amount, fee, currency, invoice_id, charge_id, description, occurred_at, updated_at)
VALUES (@id, @account_id, @kind, @natural_key, @status, @amount, @fee, @currency, @invoice_id, @charge_id, @description, @occurred_at, @now::timestamptz)
ON CONFLICT (natural_key) DO UPDATE SET
    status = EXCLUDED.status, amount = EXCLUDED.amount, fee = EXCLUDED.fee, currency = EXCLUDED.currency, invoice_id = EXCLUDED.invoice_id,
    charge_id = EXCLUDED.charge_id, description = EXCLUDED.description, occurred_at = EXCLUDED.occurred_at, updated_at = EXCLUDED.updated_at
WHERE transactions.account_id = EXCLUDED.account_id;

-- name: UpsertCharge :execrows
-- UpsertCharge changes no row where the charge is another account's: it never moves.
INSERT INTO charges (id, account_id, customer_id, payment_intent_id, invoice_id, status, amount, amount_refunded, currency, disputed, created_at, updated_at)
VALUES (@id, @account_id, @customer_id, @payment_intent_id, @invoice_id, @status, @amount, @amount_refunded, @currency, @disputed, @created_at, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET
    customer_id = EXCLUDED.customer_id, payment_intent_id = EXCLUDED.payment_intent_id, invoice_id = EXCLUDED.invoice_id,
    status = EXCLUDED.status, amount = EXCLUDED.amount, amount_refunded = EXCLUDED.amount_refunded, currency = EXCLUDED.currency,
    disputed = EXCLUDED.disputed, updated_at = EXCLUDED.updated_at
WHERE charges.account_id = EXCLUDED.account_id;

-- name: GetChargeState :one
SELECT status, amount FROM charges WHERE id = @id AND account_id = @account_id;

-- name: GetRefundStatus :one
SELECT status FROM refunds WHERE id = @id AND account_id = @account_id;

-- name: UpsertRefund :execrows
-- UpsertRefund changes no row where the refund is another account's: it never moves.
INSERT INTO refunds (id, account_id, charge_id, status, amount, currency, reason, created_at, updated_at)
VALUES (@id, @account_id, @charge_id, @status, @amount, @currency, @reason, @created_at, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET
    charge_id = EXCLUDED.charge_id, status = EXCLUDED.status, amount = EXCLUDED.amount, currency = EXCLUDED.currency,
    reason = EXCLUDED.reason, updated_at = EXCLUDED.updated_at
WHERE refunds.account_id = EXCLUDED.account_id;

-- name: GetDisputeState :one
SELECT status, withdrawn FROM disputes WHERE id = @id AND account_id = @account_id;

-- name: UpsertDispute :execrows
-- UpsertDispute changes no row where the dispute is another account's: it never moves.
INSERT INTO disputes (id, account_id, charge_id, status, amount, withdrawn, currency, reason, created_at, updated_at)
VALUES (@id, @account_id, @charge_id, @status, @amount, @withdrawn, @currency, @reason, @created_at, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET
    charge_id = EXCLUDED.charge_id, status = EXCLUDED.status, amount = EXCLUDED.amount, withdrawn = EXCLUDED.withdrawn,
    currency = EXCLUDED.currency, reason = EXCLUDED.reason, updated_at = EXCLUDED.updated_at
WHERE disputes.account_id = EXCLUDED.account_id;

-- name: FlagLostDispute :exec
-- FlagLostDispute keeps the first time.
UPDATE stripe_customers SET dispute_lost_at = COALESCE(dispute_lost_at, @now::timestamptz), updated_at = @now::timestamptz
WHERE stripe_id = @stripe_id::text AND account_id = @account_id;

-- name: UpsertCheckoutSession :execrows
-- UpsertCheckoutSession changes no row where the session is another account's: it never moves.
INSERT INTO checkout_sessions (id, account_id, mode, status, payment_status, amount_total, currency, payment_intent_id, created_at, updated_at)
VALUES (@id, @account_id, @mode, @status, @payment_status, @amount_total, @currency, @payment_intent_id, @created_at, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET
    mode = EXCLUDED.mode, status = EXCLUDED.status, payment_status = EXCLUDED.payment_status, amount_total = EXCLUDED.amount_total,
    currency = EXCLUDED.currency, payment_intent_id = EXCLUDED.payment_intent_id, updated_at = EXCLUDED.updated_at
WHERE checkout_sessions.account_id = EXCLUDED.account_id;

-- name: GetMirroredSession :one
-- GetMirroredSession reads the row under the lock of its account.
SELECT * FROM checkout_sessions WHERE id = @id AND account_id = @account_id;

-- name: FindInvoiceOfCharge :one
-- FindInvoiceOfCharge goes either way: newer versions of the API name the invoice with the charge no more.
SELECT * FROM invoices
WHERE account_id = @account_id AND (id = sqlc.narg(invoice_id)::text OR charge_id = @charge_id::text)
ORDER BY id
LIMIT 1;

-- name: FindSessionOfPayment :one
SELECT * FROM checkout_sessions
WHERE account_id = @account_id AND payment_intent_id = @payment_intent_id::text
ORDER BY id
LIMIT 1;

-- name: ListInvoiceLinesPaid :many
-- ListInvoiceLinesPaid lists what the invoice's money was paid for. Lines without an amount have no part in it.
SELECT * FROM invoice_lines WHERE invoice_id = @invoice_id AND account_id = @account_id AND amount > 0
ORDER BY id;

-- name: SettleInvoiceLines :exec
-- SettleInvoiceLines notes, once for ever, what the lines of a paid invoice are worth. With @no_upgrades changes in the middle of a period
-- are worth nothing.
UPDATE invoice_lines l SET allowance = CASE WHEN l.proration AND @no_upgrades::boolean THEN 0 ELSE p.allowance * l.quantity END
FROM (
    SELECT x.stripe_price_id, x.currency, t.allowance_amount AS allowance FROM tier_prices x JOIN tiers t ON t.id = x.tier_id
    UNION ALL
    SELECT c.stripe_price_id, c.currency, 0 FROM credit_pack_prices c
) p
WHERE l.invoice_id = @invoice_id AND l.account_id = @account_id AND l.allowance IS NULL AND p.stripe_price_id = l.price_id AND p.currency = l.currency;

-- name: ListLineAllowances :many
SELECT id, allowance FROM invoice_lines WHERE invoice_id = @invoice_id AND account_id = @account_id AND allowance IS NOT NULL;

-- name: ListPeriodLines :many
-- ListPeriodLines lists what was billed of the subscription's periods of which the invoice bills anything: the lines of whole periods,
-- and what paid changes within them give back and bill, in the order in which they were made. Items that took one another's place are
-- known by the subscription that has billed both. What a line gives is nothing where its price is not known. A line is renewed where its
-- invoice begins a period at the same moment.
WITH own AS (
    SELECT o.subscription_item_id AS item, o.period_end AS ends FROM invoice_lines o
    WHERE o.invoice_id = @invoice_id AND o.account_id = @account_id AND o.subscription_item_id IS NOT NULL
), items AS (
    SELECT item FROM own
    UNION
    SELECT l.subscription_item_id FROM invoices v JOIN invoice_lines l ON l.invoice_id = v.id AND l.account_id = v.account_id
    WHERE v.account_id = @account_id AND v.subscription_id IN (
        SELECT s.subscription_id FROM invoices s JOIN invoice_lines x ON x.invoice_id = s.id AND x.account_id = s.account_id
        WHERE s.account_id = @account_id AND x.subscription_item_id IN (SELECT item FROM own)
    )
)
SELECT l.id, l.invoice_id, l.subscription_item_id::text AS item, l.amount, l.proration, l.credited,
    EXISTS (
        SELECT 1 FROM invoice_lines w WHERE w.invoice_id = l.invoice_id AND w.account_id = l.account_id AND w.subscription_item_id IS NOT NULL
            AND NOT w.proration AND w.period_start = l.period_start
    )::boolean AS renewed,
    l.period_start::timestamptz AS period_start, l.period_end::timestamptz AS period_end, coalesce(l.allowance, p.allowance * l.quantity) AS gives,
    coalesce(p.tier_id, '')::text AS tier_id, coalesce(p.rollover, false)::boolean AS rollover,
    v.payable, v.charge_id, coalesce(v.paid_at, v.created_at)::timestamptz AS paid_at
FROM invoice_lines l JOIN invoices v ON v.id = l.invoice_id AND v.account_id = l.account_id
LEFT JOIN (
    SELECT x.stripe_price_id, x.currency, x.tier_id, t.allowance_amount AS allowance, t.allowance_rollover AS rollover
    FROM tier_prices x JOIN tiers t ON t.id = x.tier_id
) p ON p.stripe_price_id = l.price_id AND p.currency = l.currency
WHERE l.account_id = @account_id AND l.subscription_item_id IN (SELECT item FROM items) AND l.period_end IN (SELECT ends FROM own)
    AND l.period_start IS NOT NULL AND CASE
        WHEN l.proration THEN v.status = 'paid' AND v.billing_reason = ANY (@reasons::text[])
        ELSE v.status IN ('paid', 'open', 'uncollectible')
    END
ORDER BY l.period_end, l.period_start, l.proration, v.created_at, v.id, l.credited DESC, l.id;

-- name: ListReversals :many
-- ListReversals lists what has taken back money of a payment and still does, in an order that stays. What is claimed under a
-- cause that has ended is listed with nothing, so that it is given back.
SELECT cause, amount FROM reversals
WHERE account_id = @account_id
    AND (charge_id = sqlc.narg(charge_id)::text OR invoice_id = sqlc.narg(invoice_id)::text OR payment_intent_id = sqlc.narg(payment_intent_id)::text)
ORDER BY created_at, cause DESC;

-- name: ListCreditNotes :many
-- ListCreditNotes reads what is mirrored of an invoice's credit notes under the lock of its account.
SELECT * FROM credit_notes WHERE account_id = @account_id AND invoice_id = @invoice_id ORDER BY id;

-- name: UpsertCreditNote :execrows
-- UpsertCreditNote changes no row where the credit note is another account's: it never moves.
INSERT INTO credit_notes (id, account_id, invoice_id, status, amount, credited, currency, reason, created_at, updated_at)
VALUES (@id, @account_id, @invoice_id, @status, @amount, @credited, @currency, @reason, @created_at, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET
    status = EXCLUDED.status, amount = EXCLUDED.amount, credited = EXCLUDED.credited, currency = EXCLUDED.currency,
    reason = EXCLUDED.reason, updated_at = EXCLUDED.updated_at
WHERE credit_notes.account_id = EXCLUDED.account_id AND credit_notes.invoice_id = EXCLUDED.invoice_id;

-- name: GetMirroredPaymentMethod :one
-- GetMirroredPaymentMethod reads the row under the lock of its account.
SELECT * FROM payment_methods WHERE id = @id AND account_id = @account_id;

-- name: UpsertPaymentMethod :execrows
-- UpsertPaymentMethod changes no row where the payment method is another account's: it never moves. The caller keeps the card of a
-- deleted account out.
INSERT INTO payment_methods (id, account_id, customer_id, type, brand, last4, exp_month, exp_year, created_at, updated_at, detached_at)
VALUES (@id, @account_id, @customer_id, @type, @brand, @last4, @exp_month, @exp_year, @created_at, @now::timestamptz, @detached_at)
ON CONFLICT (id) DO UPDATE SET
    customer_id = EXCLUDED.customer_id, type = EXCLUDED.type, brand = EXCLUDED.brand, last4 = EXCLUDED.last4, exp_month = EXCLUDED.exp_month,
    exp_year = EXCLUDED.exp_year, updated_at = EXCLUDED.updated_at,
    detached_at = CASE WHEN EXCLUDED.detached_at IS NOT NULL THEN COALESCE(payment_methods.detached_at, EXCLUDED.detached_at) END
WHERE payment_methods.account_id = EXCLUDED.account_id;

-- name: LinkSessionAttempt :execrows
-- LinkSessionAttempt gives the session to the attempt that made it: our process may have died between Stripe's answer and
-- our commit. It never changes a session that is there.
UPDATE checkout_attempts SET stripe_session_id = @stripe_session_id::text, updated_at = @now::timestamptz
WHERE id = @id AND account_id = @account_id AND stripe_session_id IS NULL;

-- name: CompleteSessionAttempt :execrows
-- CompleteSessionAttempt also takes an attempt that we believed expired: Stripe completes a session, we do not. One whose
-- payment has failed stays so.
UPDATE checkout_attempts SET status = 'complete', lease_until = NULL, updated_at = @now::timestamptz
WHERE stripe_session_id = @stripe_session_id::text AND account_id = @account_id
    AND status IN ('creating', 'open', 'expiring', 'expired');

-- name: ExpireSessionAttempt :execrows
UPDATE checkout_attempts SET status = 'expired', lease_until = NULL, updated_at = @now::timestamptz
WHERE stripe_session_id = @stripe_session_id::text AND account_id = @account_id AND status IN ('creating', 'open', 'expiring');

-- name: FailSessionAttempt :execrows
-- FailSessionAttempt changes no row of a subscription, and none whose session has been paid after all.
UPDATE checkout_attempts a SET status = 'failed', lease_until = NULL, updated_at = @now::timestamptz
WHERE a.stripe_session_id = @stripe_session_id::text AND a.account_id = @account_id AND a.kind = 'credit_pack' AND a.status <> 'failed'
    AND NOT EXISTS (
        SELECT 1 FROM credit_lots l
        WHERE l.account_id = a.account_id AND l.natural_key = 'session:' || @stripe_session_id::text
    );

-- name: FindStripeProductInCatalog :one
-- FindStripeProductInCatalog tells what of ours the product is, and whether it is on sale.
SELECT id, (archived_at IS NULL)::boolean AS on_sale FROM tiers WHERE stripe_product_id = @stripe_product_id::text
UNION ALL
SELECT id, (archived_at IS NULL)::boolean AS on_sale FROM credit_packs WHERE stripe_product_id = @stripe_product_id::text
ORDER BY id
LIMIT 1;

-- name: ListStripeEvents :many
-- ListStripeEvents returns the newest first, without their bytes. An empty filter is none.
SELECT id, type, api_version, livemode, object_kind, object_id, root_id, customer_id, event_created, source, delivery_count, replays,
    status, reason, attempts, last_error, received_at, done_at, (payload IS NOT NULL)::boolean AS has_payload
FROM stripe_events
WHERE (@status::text = '' OR status = @status) AND (@reason::text = '' OR reason = @reason) AND (@type::text = '' OR type = @type)
    AND (@object_id::text = '' OR object_id = @object_id OR root_id = @object_id)
    AND (sqlc.narg(before)::timestamptz IS NULL OR (received_at, id) < (sqlc.narg(before)::timestamptz, @before_id::text))
ORDER BY received_at DESC, id DESC
LIMIT @max_rows;

-- name: LockStripeEvent :one
SELECT * FROM stripe_events WHERE id = @id FOR UPDATE;

-- name: ResetStripeEvent :exec
-- ResetStripeEvent begins anew with an event, whatever came of it. The caller has it locked.
UPDATE stripe_events SET status = @status, reason = @reason, root_id = @root_id, attempts = 0, parks = 0, last_error = '',
    done_at = sqlc.narg(done_at), replays = replays + 1, replayed_at = now()
WHERE id = @id;

-- name: ListKnownStripeEvents :many
SELECT id FROM stripe_events WHERE id = ANY (@ids::text[]) ORDER BY id;

-- name: GetStripeSweep :one
SELECT watermark FROM stripe_sweeps WHERE id;

-- name: SetStripeSweep :exec
-- SetStripeSweep never moves back: of two sweeps at once the later one counts.
INSERT INTO stripe_sweeps (id, watermark, updated_at) VALUES (true, @watermark, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET watermark = GREATEST(stripe_sweeps.watermark, EXCLUDED.watermark), updated_at = EXCLUDED.updated_at;

-- name: GetStripeRound :one
SELECT ran_at FROM stripe_rounds WHERE name = @name;

-- name: ListStripeRounds :many
-- ListStripeRounds tells since when each is to be done again.
SELECT name, COALESCE(ran_at, begun_at)::timestamptz AS since FROM stripe_rounds ORDER BY name;

-- name: EndStripeRound :exec
-- EndStripeRound never moves back: of two at once the later one counts.
UPDATE stripe_rounds SET ran_at = GREATEST(ran_at, @began::timestamptz) WHERE name = @name;

-- name: ListStripeCensus :many
SELECT * FROM stripe_census_lists ORDER BY path;

-- name: MoveStripeCensus :exec
-- MoveStripeCensus keeps where the reading of a list goes on; without a beginning it has to begin anew.
INSERT INTO stripe_census_lists (path, begun_at, after_id) VALUES (@path, sqlc.narg(begun_at)::timestamptz, @after_id)
ON CONFLICT (path) DO UPDATE SET begun_at = EXCLUDED.begun_at, after_id = EXCLUDED.after_id;

-- name: EndStripeCensus :exec
-- EndStripeCensus never moves back: of two readings at once the later one counts.
INSERT INTO stripe_census_lists (path, ran_at) VALUES (@path, @began::timestamptz)
ON CONFLICT (path) DO UPDATE SET ran_at = GREATEST(stripe_census_lists.ran_at, EXCLUDED.ran_at), begun_at = NULL, after_id = '';

-- name: NoteStripeTry :exec
INSERT INTO stripe_objects (id, kind, tried_at) VALUES (@id, @kind, @now::timestamptz)
ON CONFLICT (id) DO UPDATE SET tried_at = EXCLUDED.tried_at;

-- name: FindDraftInvoice :one
-- FindDraftInvoice is of a draft that Stripe does not find: nobody has the account locked.
SELECT i.customer_id FROM invoices i JOIN stripe_customers c ON c.account_id = i.account_id AND c.stripe_id = i.customer_id
WHERE i.id = @id AND i.status = 'draft';

-- name: ListWithheldGrants :many
-- ListWithheldGrants lists what was paid and granted nothing for its price, while the catalogue knows that price by now, in the currency
-- that was paid. Once it was looked at again, or where the price is still not known, it is not listed; nor is what grants nothing under
-- any price: packs beside a subscription's session. Those come first that were looked at, or tried in vain, longest ago.
WITH withheld AS (
    SELECT o.payload->>'paid_by' AS id, o.payload->>'price' AS price, o.payload->>'currency' AS currency, (o.payload->>'account')::uuid AS account_id
    FROM outbox o
    WHERE o.kind = 'operator_alarm' AND (o.natural_key LIKE 'unknown\_price:%' OR o.natural_key LIKE 'grant\_quarantined:%')
)
SELECT r.kind::text AS kind, r.id::text AS id FROM (
    SELECT 'checkout.session' AS kind, s.id
    FROM withheld w
    JOIN credit_pack_prices c ON c.stripe_price_id = w.price AND c.currency = w.currency
    JOIN checkout_sessions s ON s.id = w.id AND s.account_id = w.account_id
        AND s.mode = 'payment' AND s.status = 'complete' AND s.payment_status IN ('paid', 'no_payment_required')
    WHERE NOT EXISTS (SELECT 1 FROM credit_lots l WHERE l.account_id = s.account_id AND starts_with(l.natural_key, 'session:' || s.id))
    UNION
    SELECT 'invoice', i.id
    FROM withheld w
    JOIN (
        SELECT stripe_price_id, currency FROM tier_prices
        UNION ALL
        SELECT stripe_price_id, currency FROM credit_pack_prices
    ) p ON p.stripe_price_id = w.price AND p.currency = w.currency
    JOIN invoices i ON i.id = w.id AND i.account_id = w.account_id AND i.status = 'paid' AND i.billing_reason = ANY (@reasons::text[])
    JOIN invoice_lines n ON n.invoice_id = i.id AND n.account_id = i.account_id AND n.price_id = w.price AND n.allowance IS NULL
) r LEFT JOIN stripe_objects o ON o.id = r.id
ORDER BY GREATEST(o.last_fetch_at, o.tried_at) NULLS FIRST, r.id
LIMIT @max_rows;

-- name: ListRootsToReconcile :many
-- ListRootsToReconcile lists what may change at Stripe without a word: subscriptions that are not over, invoices that are to be
-- paid, and payments that were refunded or disputed lately; those first that were looked at, or tried in vain, longest ago.
SELECT r.kind::text AS kind, r.id::text AS id FROM (
    SELECT 'subscription' AS kind, s.id FROM subscriptions s WHERE s.status NOT IN ('canceled', 'incomplete_expired')
    UNION ALL
    SELECT 'invoice', i.id FROM invoices i WHERE i.status IN ('draft', 'open') OR i.status = 'uncollectible' AND i.created_at > @since::timestamptz
    UNION ALL
    SELECT 'charge', d.charge_id FROM disputes d WHERE d.status NOT IN ('won', 'lost', 'warning_closed', 'prevented')
    UNION
    SELECT 'charge', f.charge_id FROM refunds f WHERE f.status NOT IN ('failed', 'canceled') AND f.created_at > @since::timestamptz
) r LEFT JOIN stripe_objects o ON o.id = r.id
WHERE GREATEST(o.last_fetch_at, o.tried_at) IS NULL OR GREATEST(o.last_fetch_at, o.tried_at) < @before::timestamptz
ORDER BY GREATEST(o.last_fetch_at, o.tried_at) NULLS FIRST, r.id
LIMIT @max_rows;

-- name: ListMirroredStates :many
-- ListMirroredStates tells of objects what their mirror says of them, as [census] compares it.
SELECT m.id::text AS id, m.state::text AS state FROM (
    SELECT s.id, s.status AS state FROM subscriptions s WHERE s.id = ANY (@ids::text[])
    UNION ALL
    SELECT i.id, i.status FROM invoices i WHERE i.id = ANY (@ids::text[])
    UNION ALL
    SELECT c.id, c.status || ' ' || c.amount_refunded || ' ' || c.disputed FROM charges c WHERE c.id = ANY (@ids::text[])
    UNION ALL
    SELECT r.id, r.status FROM refunds r WHERE r.id = ANY (@ids::text[])
    UNION ALL
    SELECT d.id, d.status FROM disputes d WHERE d.id = ANY (@ids::text[])
    UNION ALL
    SELECT n.id, n.status FROM credit_notes n WHERE n.id = ANY (@ids::text[])
    UNION ALL
    SELECT k.id, k.status || ' ' || k.payment_status FROM checkout_sessions k WHERE k.id = ANY (@ids::text[])
    UNION ALL
    SELECT u.stripe_id, u.balance || ' ' || COALESCE(u.default_payment_method, '') FROM stripe_customers u WHERE u.stripe_id = ANY (@ids::text[])
) m
ORDER BY m.id;

-- name: ListKnownStripeCustomers :many
SELECT c.stripe_id::text AS stripe_id FROM stripe_customers c WHERE c.stripe_id = ANY (@ids::text[]) ORDER BY c.stripe_id;

-- name: GetMirrorDigest :one
-- GetMirrorDigest is different once anything differs that the mirror keeps of an object and what belongs to it.
SELECT md5(COALESCE(string_agg(x.state, '|' ORDER BY x.state), ''))::text AS digest FROM (
    SELECT (to_jsonb(s) - 'updated_at')::text AS state FROM subscriptions s WHERE s.id = @id AND s.account_id = @account_id
    UNION ALL
    SELECT to_jsonb(si)::text FROM subscription_items si WHERE si.subscription_id = @id AND si.account_id = @account_id
    UNION ALL
    SELECT (to_jsonb(i) - 'updated_at')::text FROM invoices i WHERE i.id = @id AND i.account_id = @account_id
    UNION ALL
    SELECT to_jsonb(l)::text FROM invoice_lines l WHERE l.invoice_id = @id AND l.account_id = @account_id
    UNION ALL
    SELECT (to_jsonb(n) - 'updated_at')::text FROM credit_notes n WHERE n.invoice_id = @id AND n.account_id = @account_id
    UNION ALL
    SELECT (to_jsonb(c) - 'updated_at')::text FROM charges c WHERE c.id = @id AND c.account_id = @account_id
    UNION ALL
    SELECT (to_jsonb(r) - 'updated_at')::text FROM refunds r WHERE r.charge_id = @id AND r.account_id = @account_id
    UNION ALL
    SELECT (to_jsonb(d) - 'updated_at')::text FROM disputes d WHERE d.charge_id = @id AND d.account_id = @account_id
    UNION ALL
    SELECT (to_jsonb(p) - 'updated_at')::text FROM payment_intents p WHERE p.id = @id AND p.account_id = @account_id
    UNION ALL
    SELECT (to_jsonb(k) - 'updated_at')::text FROM checkout_sessions k WHERE k.id = @id AND k.account_id = @account_id
    UNION ALL
    SELECT (to_jsonb(u) - 'updated_at')::text FROM stripe_customers u WHERE u.stripe_id = @id AND u.account_id = @account_id
) x;

-- name: AccountExists :one
SELECT EXISTS (SELECT 1 FROM accounts WHERE id = @id);

-- name: ListQuarantineReasons :many
SELECT reason, count(*) AS events FROM stripe_events WHERE status = 'quarantined' GROUP BY reason ORDER BY reason;

-- name: CountSeatsTaken :one
SELECT count(*) FROM memberships WHERE account_id = @account_id;
