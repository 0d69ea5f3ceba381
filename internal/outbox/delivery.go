package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// Of one job: short transactions, and an end to them. What is left then is left to the next job.
const (
	deliveryBatch   = 100
	deliveryBatches = 50
)

// A Delivery tells what is in the outbox: for now it writes each message to the log. A message is told at least once: it is
// marked in the transaction that holds it, after it was told.
type Delivery struct {
	pool *pgxpool.Pool
	now  func() time.Time
	log  *slog.Logger
}

// NewDelivery returns a delivery to log.
func NewDelivery(pool *pgxpool.Pool, now func() time.Time, log *slog.Logger) *Delivery {
	return &Delivery{pool: pool, now: now, log: log}
}

// DeliverArgs is the job that delivers what waits.
type DeliverArgs struct{}

// Kind names the job.
func (DeliverArgs) Kind() string { return "outbox_deliver" }

// InsertOpts keeps one such job at a time.
func (DeliverArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// AddWorkers registers what the package's jobs do.
func (d *Delivery) AddWorkers(w *river.Workers) {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[DeliverArgs]) error {
		_, err := d.Deliver(ctx)
		return err
	}))
}

// PeriodicJobs are the package's regular jobs.
func (d *Delivery) PeriodicJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{river.NewPeriodicJob(
		river.PeriodicInterval(5*time.Second),
		func() (river.JobArgs, *river.InsertOpts) { return DeliverArgs{}, nil },
		&river.PeriodicJobOpts{RunOnStart: true},
	)}
}

// Deliver tells what waits, the oldest first, and returns how many messages it told.
func (d *Delivery) Deliver(ctx context.Context) (int, error) {
	total := 0
	for range deliveryBatches {
		told, err := d.deliverBatch(ctx)
		if err != nil {
			return total, fmt.Errorf("deliver outbox: %w", err)
		}
		if total += told; told < deliveryBatch {
			break
		}
	}
	return total, nil
}

func (d *Delivery) deliverBatch(ctx context.Context) (told int, err error) {
	err = postgres.InTx(ctx, d.pool, func(q *db.Queries) error {
		messages, err := q.TakeUnsentOutbox(ctx, deliveryBatch)
		if err != nil {
			return fmt.Errorf("take messages: %w", err)
		}
		ids := make([]uuid.UUID, len(messages))
		for i, m := range messages {
			ids[i] = m.ID
			d.tell(ctx, m)
		}
		if told = len(ids); told == 0 {
			return nil
		}
		return q.MarkOutboxSent(ctx, d.now(), ids)
	})
	return told, err
}

// tell leaves the payload out: it may say more about a person than a log should.
func (d *Delivery) tell(ctx context.Context, m db.TakeUnsentOutboxRow) {
	account := ""
	if m.AccountID != nil {
		account = m.AccountID.String()
	}
	d.log.InfoContext(ctx, "outbox message", "kind", m.Kind, "natural_key", m.NaturalKey, "account", account)
}
