// Package idempotency makes a repeated request change nothing twice.
//
// The key is claimed at the beginning of the transaction of the effect and the result is stored at its end, so both commit
// together or not at all. A rival with the same key waits at the claim and then finds the result. A refusal rolls the claim
// back: the next try is judged anew. What is stored is the result of the service, without secrets; HTTP is rebuilt from it.
//
// [Do] is for requests that are one transaction. A request that calls somebody else in between uses [Begin] and a [Claim].
package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/problem"
)

// Retention is how long a result is replayed.
const Retention = 24 * time.Hour

// A Key names one request that its caller may repeat. The zero Key is a request without the header.
type Key struct {
	Principal string // kind and id
	Operation string // operationId of the document
	Value     string // the Idempotency-Key header
	Request   []byte // SHA-256 of what is asked for
}

// New makes a key; request is what is asked for, hashed as JSON.
func New(principal, operation, value string, request any) (Key, error) {
	raw, err := json.Marshal(request)
	if err != nil {
		return Key{}, fmt.Errorf("encode request: %w", err)
	}
	sum := sha256.Sum256(raw)
	return Key{Principal: principal, Operation: operation, Value: value, Request: sum[:]}, nil
}

// None tells whether the caller sent no key.
func (k Key) None() bool { return k.Value == "" }

// Hash is what a ledger entry keeps of the key: SHA-256 of principal, operation and value. It is nil for no key.
func (k Key) Hash() []byte {
	if k.None() {
		return nil
	}
	h := sha256.New()
	for _, part := range []string{k.Principal, k.Operation, k.Value} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)
}

// Check compares the request that was stored under the key with this one; it fails with [problem.IdempotencyMismatch].
func (k Key) Check(stored []byte) error {
	if bytes.Equal(stored, k.Request) {
		return nil
	}
	return problem.IdempotencyMismatch.Errorf("this Idempotency-Key was used for a request with another body; send a new key").
		In("header.Idempotency-Key", "belongs to another request")
}

// Do runs f once for a key in the transaction of q and tells whether the result is that of an earlier request. f returns the
// result, which is stored as JSON: it must not contain a secret.
func Do[T any](ctx context.Context, q *db.Queries, now time.Time, k Key, f func() (T, error)) (result T, replayed bool, err error) {
	if k.None() {
		result, err = f()
		return result, false, err
	}
	claimed, err := claim(ctx, q, now, k, nil)
	if err != nil {
		return result, false, err
	}
	if !claimed {
		result, err = replay[T](ctx, q, now, k)
		return result, err == nil, err
	}
	if result, err = f(); err != nil {
		return result, false, err
	}
	return result, false, finish(ctx, q, k, result)
}

func claim(ctx context.Context, q *db.Queries, now time.Time, k Key, leaseUntil *time.Time) (bool, error) {
	rows, err := q.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
		Principal: k.Principal, Operation: k.Operation, Key: k.Value, RequestHash: k.Request,
		LeaseUntil: leaseUntil, CreatedAt: now, ExpiresAt: now.Add(Retention),
	})
	if err != nil {
		return false, fmt.Errorf("claim idempotency key: %w", err)
	}
	return rows > 0, nil
}

func replay[T any](ctx context.Context, q *db.Queries, now time.Time, k Key) (result T, err error) {
	row, err := q.GetIdempotencyKey(ctx, k.Principal, k.Operation, k.Value)
	if err != nil {
		return result, fmt.Errorf("read idempotency key: %w", err)
	}
	if err := k.Check(row.RequestHash); err != nil {
		return result, err
	}
	if row.Result == nil {
		return result, running(row.LeaseUntil, now)
	}
	if err := json.Unmarshal(row.Result, &result); err != nil {
		return result, fmt.Errorf("decode stored result: %w", err)
	}
	return result, nil
}

func finish(ctx context.Context, q *db.Queries, k Key, result any) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if _, err := q.FinishIdempotencyKey(ctx, db.FinishIdempotencyKeyParams{
		Result: raw, Principal: k.Principal, Operation: k.Operation, Key: k.Value,
	}); err != nil {
		return fmt.Errorf("store result: %w", err)
	}
	return nil
}
