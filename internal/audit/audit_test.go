package audit_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
)

func TestRecord(t *testing.T) {
	t.Parallel()
	pool, account, now := pgtest.New(t), uuid.New(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	entry := audit.Entry{
		Actor: audit.Actor{Kind: audit.ByUser, ID: "u", RequestID: "r", IP: "192.0.2.1"}, AccountID: &account,
		Action: "api_key.create", Target: "api_key", TargetID: "k", After: map[string]string{"name": "deploy"},
	}
	undone := errors.New("undone")
	for _, end := range []error{undone, nil} {
		err := postgres.InTx(t.Context(), pool, func(q *db.Queries) error {
			if err := audit.Record(t.Context(), q, now, entry); err != nil {
				return err
			}
			return end
		})
		if !errors.Is(err, end) {
			t.Fatal(err)
		}
	}
	type row struct {
		Account                                                           uuid.UUID
		Kind, Actor, Action, Target, TargetID, Request, IP, Before, After string
		Created                                                           time.Time
	}
	var got row
	err := pool.QueryRow(t.Context(), `SELECT account_id, actor_kind, actor_id, action, target_kind, target_id, request_id, ip,
		coalesce(before::text, 'none'), after::text, created_at FROM audit_log`).Scan(&got.Account, &got.Kind, &got.Actor, &got.Action,
		&got.Target, &got.TargetID, &got.Request, &got.IP, &got.Before, &got.After, &got.Created)
	if err != nil {
		t.Fatal(err)
	}
	want := row{account, "user", "u", "api_key.create", "api_key", "k", "r", "192.0.2.1", "none", `{"name": "deploy"}`, now}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_log").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v: the entry of an undone change is there", n, err)
	}
}

func TestRecordRefusesWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	err := audit.Record(t.Context(), db.New(pool), time.Now(), audit.Entry{Actor: audit.System("job"), Before: func() {}})
	var unsupported *json.UnsupportedTypeError
	if !errors.As(err, &unsupported) {
		t.Errorf("got %v", err)
	}
}
