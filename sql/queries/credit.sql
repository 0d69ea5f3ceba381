-- Queries of package credit.

-- name: EnsureCreditAccount :exec
INSERT INTO credit_accounts (account_id) VALUES (@account_id)
ON CONFLICT (account_id) DO NOTHING;

-- name: LockCreditAccount :one
-- LockCreditAccount is a statement of its own on purpose: whatever reads lots or entries has to come after it, in a statement
-- with a snapshot that is younger than the lock. A statement that locks and reads at once reads from before its wait.
SELECT * FROM credit_accounts WHERE account_id = @account_id FOR UPDATE;

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
-- ListDueCreditAccounts lists accounts that time alone has changed, the longest due first.
SELECT account_id FROM credit_accounts
WHERE next_change_at <= @now::timestamptz
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
