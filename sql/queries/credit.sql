-- Queries of package credit.

-- name: EnsureCreditAccount :exec
INSERT INTO credit_accounts (account_id) VALUES (@account_id)
ON CONFLICT (account_id) DO NOTHING;

-- name: LockCreditAccount :one
-- LockCreditAccount is a statement of its own on purpose: whatever reads lots or entries has to come after it, in a statement
-- with a snapshot that is younger than the lock. A statement that locks and reads at once reads from before its wait.
SELECT * FROM credit_accounts WHERE account_id = @account_id FOR NO KEY UPDATE;

-- name: GetCreditAccount :one
SELECT * FROM credit_accounts WHERE account_id = @account_id;

-- name: InsertCreditLot :execrows
-- InsertCreditLot makes an empty lot, which its grant entry fills. It changes no row where the natural key is there already.
INSERT INTO credit_lots (account_id, id, source, natural_key, priority, granted, remaining, expires_at, created_at)
VALUES (@account_id, @id, @source, @natural_key, @priority, @granted, 0, @expires_at, @created_at)
ON CONFLICT (account_id, natural_key) DO NOTHING;

-- name: AppendCreditEntry :exec
-- AppendCreditEntry writes an entry, its parts by lot, the lots and the account in one statement, so that none of them is ever
-- without the others. The account is locked by the caller, who computed balance_after and seq under that lock.
WITH part AS (
    SELECT unnest(@lot_ids::uuid[]) AS lot_id, unnest(@lot_amounts::bigint[]) AS amount
), entry AS (
    INSERT INTO credit_entries (account_id, seq, id, kind, amount, balance_after, held_after, description, reference,
        idempotency_hash, request_hash, actor_kind, actor_id, request_id, effective_at, created_at)
    VALUES (@account_id, @seq, @id, @kind, @amount, @balance_after, @held_after, @description, @reference,
        @idempotency_hash, @request_hash, @actor_kind, @actor_id, @request_id, @effective_at, @created_at)
), link AS (
    INSERT INTO credit_entry_lots (account_id, seq, lot_id, amount)
    SELECT @account_id, @seq, part.lot_id, part.amount FROM part
), lot AS (
    UPDATE credit_lots SET remaining = credit_lots.remaining + part.amount
    FROM part
    WHERE credit_lots.account_id = @account_id AND credit_lots.id = part.lot_id
)
UPDATE credit_accounts SET balance = @balance_after, next_seq = next_seq + 1, next_change_at = @next_change_at
WHERE credit_accounts.account_id = @account_id;

-- name: ListCreditLotsToBurn :many
-- ListCreditLotsToBurn lists what can be spent, in the order of spending: priority, soonest expiry (none comes last), oldest.
SELECT id, remaining FROM credit_lots
WHERE account_id = @account_id AND remaining > 0
ORDER BY priority, expires_at, created_at, id
LIMIT @max_rows;

-- name: ListExpiredCreditLots :many
SELECT id, remaining, expires_at FROM credit_lots
WHERE account_id = @account_id AND remaining > 0 AND expires_at <= @now::timestamptz
ORDER BY expires_at, id;

-- name: NextCreditExpiry :one
SELECT min(expires_at)::timestamptz AS expires_at FROM credit_lots
WHERE account_id = @account_id AND remaining > 0
HAVING min(expires_at) IS NOT NULL;

-- name: SetNextCreditChange :exec
UPDATE credit_accounts SET next_change_at = @next_change_at WHERE account_id = @account_id;

-- name: ListDueCreditAccounts :many
-- ListDueCreditAccounts lists accounts that time alone has changed, the longest due first, without those passed over.
SELECT account_id FROM credit_accounts
WHERE next_change_at <= @now::timestamptz AND NOT account_id = ANY (coalesce(@passed::uuid[], '{}'))
ORDER BY next_change_at, account_id
LIMIT @max_rows;

-- name: GetCreditBalance :many
-- GetCreditBalance reads the account and its lots in one statement, so that they fit together. An account without lots is one
-- row without a lot.
SELECT a.balance, a.held, l.id, l.source, l.granted, l.remaining, l.expires_at, l.created_at
FROM credit_accounts a
LEFT JOIN credit_lots l ON l.account_id = a.account_id AND l.remaining > 0
WHERE a.account_id = @account_id
ORDER BY l.priority, l.expires_at, l.created_at, l.id;

-- name: GetCreditEntryByReference :one
SELECT * FROM credit_entries WHERE account_id = @account_id AND reference = @reference::text;

-- name: GetCreditEntry :one
SELECT * FROM credit_entries WHERE account_id = @account_id AND seq = @seq;

-- name: FindCreditEntryByKey :one
-- FindCreditEntryByKey finds the entry that an Idempotency-Key was answered with, and the hash of the request that came with
-- that key: the entry's own, or one that repeated its reference.
SELECT e.seq, e.request_hash FROM credit_entries e
WHERE e.account_id = @account_id AND e.idempotency_hash = @idempotency_hash::bytea
UNION ALL
SELECT k.seq, k.request_hash FROM credit_entry_keys k
WHERE k.account_id = @account_id AND k.idempotency_hash = @idempotency_hash::bytea;

-- name: InsertCreditEntryKey :execrows
-- InsertCreditEntryKey changes no row where the key belongs to a request for another account.
INSERT INTO credit_entry_keys (idempotency_hash, account_id, seq, request_hash, created_at)
SELECT @idempotency_hash::bytea, @account_id, @seq, @request_hash, @created_at::timestamptz
WHERE NOT EXISTS (SELECT FROM credit_entries e WHERE e.idempotency_hash = @idempotency_hash::bytea)
ON CONFLICT (idempotency_hash) DO NOTHING;

-- name: ListCreditEntries :many
-- ListCreditEntries returns the newest first, from before a sequence on.
SELECT * FROM credit_entries
WHERE account_id = @account_id AND seq < @before_seq
ORDER BY seq DESC
LIMIT @max_rows;

-- name: ListAllowancesDue :many
-- ListAllowancesDue lists accounts whose allowance the clock has to look at, the longest due first, without those passed over.
SELECT account_id FROM credit_accounts
WHERE (next_allowance_at IS NULL OR next_allowance_at <= @now::timestamptz) AND NOT account_id = ANY (coalesce(@passed::uuid[], '{}'))
ORDER BY next_allowance_at NULLS FIRST, account_id
LIMIT @max_rows;

-- name: ListAccountsWithoutCredits :many
-- ListAccountsWithoutCredits lists accounts that could get an allowance and have no row of credits yet: nobody has asked for
-- them since their owner confirmed the e-mail address. Those passed over are left out.
SELECT a.id FROM accounts a JOIN users u ON u.id = a.personal_of
WHERE a.status = 'active' AND u.email_confirmed_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM credit_accounts c WHERE c.account_id = a.id) AND NOT a.id = ANY (coalesce(@passed::uuid[], '{}'))
ORDER BY a.id
LIMIT @max_rows;

-- name: EnsureCreditAccounts :exec
INSERT INTO credit_accounts (account_id)
SELECT id FROM unnest(@account_ids::uuid[]) AS id ORDER BY id
ON CONFLICT (account_id) DO NOTHING;

-- name: LockCreditAccountsFree :many
-- LockCreditAccountsFree locks those of the accounts that nobody else holds, in the order of their ids.
SELECT * FROM credit_accounts WHERE account_id = ANY (@account_ids::uuid[])
ORDER BY account_id
FOR NO KEY UPDATE SKIP LOCKED;

-- name: ListAllowanceOwners :many
-- ListAllowanceOwners tells what the clock has to know of accounts. An account that is nobody's own has no address to confirm.
SELECT a.id, a.kind, a.status, a.created_at, u.email_confirmed_at
FROM accounts a LEFT JOIN users u ON u.id = a.personal_of
WHERE a.id = ANY (@account_ids::uuid[])
ORDER BY a.id;

-- name: ListAllowanceLines :many
-- ListAllowanceLines lists what was paid of the current periods of the accounts' subscription items, with the tiers of the prices: first
-- the line of the period itself, then the changes within it in the order in which they were made, each as what it gives back (credited)
-- and what it bills. It counts what stands on an invoice that is paid, in the currency of the price, and whose money has not all gone
-- back; of periods and of changes only what invoices of that reason give. What is billed of a period only after its end is not of the
-- current one. Items have no period of their own where the API's version gives it to the subscription alone.
SELECT i.id, i.subscription_id, i.account_id, i.period_start::timestamptz AS period_start, i.period_end::timestamptz AS period_end,
    l.id AS line_id, l.proration, l.credited, l.quantity, l.period_start::timestamptz AS line_start, l.period_end::timestamptz AS line_end,
    p.tier_id, v.id AS invoice_id, v.payable
FROM (
    SELECT x.id, x.subscription_id, x.account_id, coalesce(x.current_period_start, s.current_period_start) AS period_start,
        coalesce(x.current_period_end, s.current_period_end) AS period_end
    FROM subscription_items x JOIN subscriptions s ON s.id = x.subscription_id AND s.account_id = x.account_id
    WHERE x.account_id = ANY (@account_ids::uuid[])
) i
JOIN invoice_lines l ON l.subscription_item_id = i.id AND l.account_id = i.account_id
    AND (NOT l.proration AND l.period_start = i.period_start OR l.proration AND l.period_start >= i.period_start AND l.period_end = i.period_end)
JOIN invoices v ON v.id = l.invoice_id AND v.account_id = l.account_id AND v.status = 'paid' AND v.currency = l.currency
    AND v.billing_reason = ANY (CASE WHEN l.proration THEN @reasons_of_changes::text[] ELSE @reasons_of_periods::text[] END)
JOIN tier_prices p ON p.stripe_price_id = l.price_id AND p.currency = l.currency
WHERE i.period_start IS NOT NULL AND i.period_end IS NOT NULL AND l.period_end IS NOT NULL AND (v.payable <= 0 OR v.payable > (
    SELECT coalesce(sum(back.amount), 0) FROM reversals back WHERE back.invoice_id = v.id AND back.account_id = v.account_id
))
ORDER BY i.account_id, i.id, l.period_start, l.proration, v.created_at, v.id, l.credited DESC, l.id;

-- name: ListInvoiceReversals :many
-- ListInvoiceReversals lists what has gone back of invoices, in the order in which it takes.
SELECT account_id, invoice_id::text AS invoice_id, cause, amount FROM reversals
WHERE account_id = ANY (@account_ids::uuid[]) AND invoice_id = ANY (@invoice_ids::text[])
ORDER BY account_id, invoice_id, created_at, cause DESC;

-- name: SetNextAllowance :exec
UPDATE credit_accounts SET next_allowance_at = sqlc.narg(next_allowance_at) WHERE account_id = @account_id;

-- name: ListCreditLotsOfPayment :many
-- ListCreditLotsOfPayment lists the lots that a payment has bought, also those with nothing left.
SELECT id, granted, remaining, expires_at FROM credit_lots
WHERE account_id = @account_id
    AND (natural_key = ANY (@natural_keys::text[]) OR EXISTS (SELECT FROM unnest(@prefixes::text[]) AS prefix WHERE starts_with(natural_key, prefix)))
ORDER BY created_at, id;

-- name: ListCreditClawbacks :many
SELECT cause, claimed, taken FROM credit_clawbacks WHERE account_id = @account_id AND lot_id = @lot_id ORDER BY cause;

-- name: SetCreditClawback :exec
INSERT INTO credit_clawbacks (account_id, lot_id, cause, claimed, taken, updated_at)
VALUES (@account_id, @lot_id, @cause, @claimed, @taken, @now::timestamptz)
ON CONFLICT (account_id, lot_id, cause) DO UPDATE SET claimed = EXCLUDED.claimed, taken = EXCLUDED.taken, updated_at = EXCLUDED.updated_at;

-- name: FindBrokenCreditClawbacks :many
-- FindBrokenCreditClawbacks finds lots of which refunds and disputes have not taken what their entries say.
SELECT l.account_id, l.id, coalesce(c.taken, 0)::bigint AS taken, coalesce(p.taken, 0)::bigint AS entries
FROM credit_lots l
LEFT JOIN (SELECT account_id, lot_id, sum(taken) AS taken FROM credit_clawbacks GROUP BY account_id, lot_id) c
    ON c.account_id = l.account_id AND c.lot_id = l.id
LEFT JOIN (
    SELECT x.account_id, x.lot_id, -sum(x.amount) AS taken
    FROM credit_entry_lots x JOIN credit_entries e ON e.account_id = x.account_id AND e.seq = x.seq
    WHERE e.kind IN ('revoke', 'restore')
    GROUP BY x.account_id, x.lot_id
) p ON p.account_id = l.account_id AND p.lot_id = l.id
WHERE coalesce(c.taken, 0) <> coalesce(p.taken, 0)
ORDER BY l.account_id, l.id
LIMIT @max_rows;

-- name: CountCredits :one
-- CountCredits counts for all accounts: it is what the proof of the ledger has looked at.
SELECT (SELECT count(*) FROM credit_accounts) AS accounts, (SELECT count(*) FROM credit_entries) AS entries;

-- name: FindBrokenCreditChains :many
-- FindBrokenCreditChains finds entries that do not follow from the one before: a gap in the numbers, or another balance.
SELECT account_id, seq, amount, balance_after, held_after, previous_seq, previous_balance FROM (
    SELECT e.account_id, e.seq, e.amount, e.balance_after, e.held_after,
        coalesce(lag(e.seq) OVER chain, 0)::bigint AS previous_seq,
        coalesce(lag(e.balance_after) OVER chain, 0)::bigint AS previous_balance
    FROM credit_entries e
    WINDOW chain AS (PARTITION BY e.account_id ORDER BY e.seq)
) AS link
WHERE seq <> previous_seq + 1 OR balance_after <> previous_balance + amount OR held_after NOT BETWEEN 0 AND balance_after
ORDER BY account_id, seq
LIMIT @max_rows;

-- name: FindBrokenCreditAccounts :many
-- FindBrokenCreditAccounts finds accounts whose balance is not the sum of their lots and of their entries, whose next number is
-- not the next, or that would show a lot after it has expired.
SELECT a.account_id, a.balance, a.held, a.next_seq, a.next_change_at, coalesce(e.total, 0)::bigint AS entries_total,
    coalesce(e.last, 0)::bigint AS last_seq, coalesce(l.remaining, 0)::bigint AS lots_remaining,
    (l.expires_at IS NOT NULL AND (a.next_change_at IS NULL OR a.next_change_at > l.expires_at))::boolean AS unseen,
    coalesce(l.expires_at::text, '')::text AS expires_at
FROM credit_accounts a
LEFT JOIN (
    SELECT account_id, sum(amount) AS total, max(seq) AS last FROM credit_entries GROUP BY account_id
) e ON e.account_id = a.account_id
LEFT JOIN (
    SELECT account_id, sum(remaining) AS remaining, (min(expires_at) FILTER (WHERE remaining > 0))::timestamptz AS expires_at
    FROM credit_lots GROUP BY account_id
) l ON l.account_id = a.account_id
WHERE a.balance <> coalesce(l.remaining, 0) OR a.balance <> coalesce(e.total, 0) OR a.held NOT BETWEEN 0 AND a.balance
    OR a.next_seq <> coalesce(e.last, 0) + 1
    OR (l.expires_at IS NOT NULL AND (a.next_change_at IS NULL OR a.next_change_at > l.expires_at))
ORDER BY a.account_id
LIMIT @max_rows;

-- name: FindBrokenCreditLots :many
-- FindBrokenCreditLots finds lots of which there is not left what was granted less what was taken.
SELECT l.account_id, l.id, l.granted, l.remaining, coalesce(p.filled, 0)::bigint AS filled, coalesce(p.total, 0)::bigint AS total
FROM credit_lots l
LEFT JOIN (
    SELECT x.account_id, x.lot_id, sum(x.amount) AS total, sum(x.amount) FILTER (WHERE e.kind = 'grant') AS filled
    FROM credit_entry_lots x JOIN credit_entries e ON e.account_id = x.account_id AND e.seq = x.seq
    GROUP BY x.account_id, x.lot_id
) p ON p.account_id = l.account_id AND p.lot_id = l.id
WHERE l.remaining <> coalesce(p.total, 0) OR l.granted <> coalesce(p.filled, 0) OR l.remaining NOT BETWEEN 0 AND l.granted
ORDER BY l.account_id, l.id
LIMIT @max_rows;

-- name: FindBrokenCreditEntries :many
-- FindBrokenCreditEntries finds entries that are not the sum of what they put into lots or took from them.
SELECT e.account_id, e.seq, e.kind, e.amount, coalesce(p.total, 0)::bigint AS parts
FROM credit_entries e
LEFT JOIN (
    SELECT account_id, seq, sum(amount) AS total FROM credit_entry_lots GROUP BY account_id, seq
) p ON p.account_id = e.account_id AND p.seq = e.seq
WHERE e.amount <> coalesce(p.total, 0) OR (e.kind IN ('grant', 'restore')) <> (e.amount > 0)
ORDER BY e.account_id, e.seq
LIMIT @max_rows;

-- name: FindOrphanedCredits :many
-- FindOrphanedCredits finds what belongs to nothing, which the foreign keys forbid.
SELECT o.account_id, o.what::text AS what FROM (
    SELECT e.account_id, 'entry ' || e.seq AS what FROM credit_entries e
    WHERE NOT EXISTS (SELECT FROM credit_accounts a WHERE a.account_id = e.account_id)
    UNION ALL
    SELECT l.account_id, 'lot ' || l.id FROM credit_lots l
    WHERE NOT EXISTS (SELECT FROM credit_accounts a WHERE a.account_id = l.account_id)
    UNION ALL
    SELECT x.account_id, 'part of entry ' || x.seq || ' in lot ' || x.lot_id FROM credit_entry_lots x
    WHERE NOT EXISTS (SELECT FROM credit_entries e WHERE e.account_id = x.account_id AND e.seq = x.seq)
        OR NOT EXISTS (SELECT FROM credit_lots l WHERE l.account_id = x.account_id AND l.id = x.lot_id)
) o
ORDER BY o.account_id, o.what
LIMIT @max_rows;
