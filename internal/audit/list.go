package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/page"
)

// A Row is one entry as it is stored.
type Row = db.AuditLog

// A Filter chooses entries; what is empty chooses all.
type Filter struct {
	AccountID        *uuid.UUID
	Action, TargetID string
}

// A Log reads what was recorded.
type Log struct{ pool *pgxpool.Pool }

// New returns a log.
func New(pool *pgxpool.Pool) *Log { return &Log{pool} }

// place is where the next page begins.
type place struct {
	At time.Time `json:"at"`
	ID uuid.UUID `json:"id"`
}

// List returns the newest entries first.
func (l *Log) List(ctx context.Context, f Filter, r page.Request) (page.Page[Row], error) {
	var from place
	more, err := r.Decode(&from)
	if err != nil {
		return page.Page[Row]{}, err
	}
	params := db.ListAuditLogParams{AccountID: f.AccountID, Action: f.Action, TargetID: f.TargetID, BeforeID: from.ID, MaxRows: int32(r.Limit) + 1}
	if more {
		params.BeforeAt = &from.At
	}
	rows, err := db.New(l.pool).ListAuditLog(ctx, params)
	if err != nil {
		return page.Page[Row]{}, fmt.Errorf("list audit log: %w", err)
	}
	return page.New(r, rows, func(e Row) any { return place{e.CreatedAt, e.ID} })
}
