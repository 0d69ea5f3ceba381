package idempotency

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// A Claim is the right to carry out a request that calls somebody else between its transactions. It lasts for a lease; who
// comes after that takes the request over and resumes it from what it has written down. The claim of a request without a key
// is empty and lets everything pass.
type Claim struct {
	key   Key
	until time.Time // also the token: each lease ends later than the one before
}

// Begin claims the key in a transaction of its own, so that rivals see it while the request runs. Where the request was
// answered before, the answer is decoded into answer, a pointer, and Begin reports true. It fails with
// [problem.IdempotencyRunning] while another claim lasts, and with [problem.IdempotencyMismatch] for another request.
//
// A claim ends with [Claim.Finish] or, where the request is refused, with [Claim.Release]. Work that can be interrupted in
// between has to leave a row behind from which the next claimant resumes.
func Begin(ctx context.Context, pool *pgxpool.Pool, now time.Time, k Key, lease time.Duration, answer any) (Claim, bool, error) {
	if k.None() {
		return Claim{}, false, nil
	}
	until := now.Add(lease).Truncate(time.Microsecond) // as PostgreSQL gives it back
	answered := false
	err := postgres.InTx(ctx, pool, func(q *db.Queries) error {
		claimed, err := claim(ctx, q, now, k, &until)
		if err != nil || claimed {
			return err
		}
		answered, err = takeOver(ctx, q, now, k, until, answer)
		return err
	})
	if err != nil || answered {
		return Claim{}, answered, err
	}
	return Claim{key: k, until: until}, false, nil
}

// takeOver reads the answer that is there, or takes the lease where it is over.
func takeOver(ctx context.Context, q *db.Queries, now time.Time, k Key, until time.Time, answer any) (answered bool, err error) {
	row, err := q.GetIdempotencyKey(ctx, k.Principal, k.Operation, k.Value)
	if err != nil {
		return false, fmt.Errorf("read idempotency key: %w", err)
	}
	if err := k.Check(row.RequestHash); err != nil {
		return false, err
	}
	if row.Result != nil {
		if err := json.Unmarshal(row.Result, answer); err != nil {
			return false, fmt.Errorf("decode stored result: %w", err)
		}
		return true, nil
	}
	if row.LeaseUntil == nil || row.LeaseUntil.After(now) {
		return false, running(row.LeaseUntil, now)
	}
	taken, err := q.TakeIdempotencyLease(ctx, db.TakeIdempotencyLeaseParams{
		Principal: k.Principal, Operation: k.Operation, Key: k.Value, LeaseUntil: &until, Before: row.LeaseUntil,
	})
	if err != nil {
		return false, fmt.Errorf("take over idempotency key: %w", err)
	}
	if taken == 0 {
		return false, running(nil, now)
	}
	return false, nil
}

// Finish stores the answer in the transaction of q, which also records what was brought about. It fails with
// [problem.IdempotencyRunning] where the lease was over and somebody else has taken the request over: what the transaction was
// about to write is theirs to write.
func (c Claim) Finish(ctx context.Context, q *db.Queries, answer any) error {
	if c.key.None() {
		return nil
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	finished, err := q.FinishIdempotencyLease(ctx, db.FinishIdempotencyLeaseParams{
		Result: raw, Principal: c.key.Principal, Operation: c.key.Operation, Key: c.key.Value, LeaseUntil: &c.until,
	})
	if err != nil {
		return fmt.Errorf("store result: %w", err)
	}
	if finished == 0 {
		return running(nil, time.Time{})
	}
	return nil
}

// Release gives the claim up after a refusal, so that the next try is judged anew. It does nothing where the claim is lost.
func (c Claim) Release(ctx context.Context, pool *pgxpool.Pool) error {
	if c.key.None() {
		return nil
	}
	if _, err := db.New(pool).ReleaseIdempotencyLease(ctx, db.ReleaseIdempotencyLeaseParams{
		Principal: c.key.Principal, Operation: c.key.Operation, Key: c.key.Value, LeaseUntil: &c.until,
	}); err != nil {
		return fmt.Errorf("release idempotency key: %w", err)
	}
	return nil
}

// running is the refusal of a request whose twin runs; until is when its lease ends, where that is known.
func running(until *time.Time, now time.Time) error {
	wait := time.Second
	if until != nil {
		wait = min(max(until.Sub(now), time.Second), 10*time.Second)
	}
	return problem.IdempotencyRunning.Errorf("the first request with this key is still running; try again in a moment").After(wait)
}
