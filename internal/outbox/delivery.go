package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// Of one job: an end to it. What is left then is left to the next job.
const (
	deliveryBatch   = 100
	deliveryBatches = 50
	mailBatch       = 20
	// deliveryLease is how long a message is its delivery's. It is more than a job may take.
	deliveryLease = 2 * time.Minute
)

// pauses are those after each failed attempt to send a mail, three days together. After the last attempt it is given up.
var pauses = [...]time.Duration{
	time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 15 * time.Hour, 24 * time.Hour, 24 * time.Hour,
}

// A Delivery tells what is in the outbox: by mail where there is a mailer and a text for the kind of message, and by the log.
// A message is told at least once: it is marked after it was told. One that is mailed twice, because the process died in between,
// is the same mail twice.
type Delivery struct {
	pool   *pgxpool.Pool
	now    func() time.Time
	log    *slog.Logger
	mailer *Mailer
	metrics
}

// NewDelivery returns a delivery to mailer, which may be nil, and to log.
func NewDelivery(pool *pgxpool.Pool, now func() time.Time, log *slog.Logger, mailer *Mailer) *Delivery {
	return &Delivery{pool: pool, now: now, log: log, mailer: mailer, metrics: newMetrics()}
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
	batch := int32(deliveryBatch)
	if d.mailer != nil {
		batch = mailBatch
	}
	total := 0
	for range deliveryBatches {
		taken, told, err := d.deliverBatch(ctx, batch)
		total += told
		if err != nil {
			return total, fmt.Errorf("deliver outbox: %w", err)
		}
		if taken < int(batch) {
			break
		}
	}
	return total, nil
}

// deliverBatch leases messages, so that nothing is locked while a mail server takes its time.
func (d *Delivery) deliverBatch(ctx context.Context, batch int32) (taken, told int, err error) {
	now := d.now()
	messages, err := db.New(d.pool).LeaseOutbox(ctx, now.Add(deliveryLease), now, batch)
	if err != nil {
		return 0, 0, fmt.Errorf("take messages: %w", err)
	}
	slices.SortFunc(messages, func(a, b db.LeaseOutboxRow) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	var sent []uuid.UUID
	for i, m := range messages {
		if err = d.tell(ctx, m); err == nil {
			sent = append(sent, m.ID)
			continue
		}
		if postponed := d.failed(ctx, m, err); postponed != nil {
			return len(messages), len(sent), errors.Join(postponed, d.mark(ctx, sent))
		}
		if errors.Is(err, errUnreachable) { // the others would fail as well, each after its time
			for _, other := range messages[i+1:] {
				if postponed := d.failed(ctx, other, err); postponed != nil {
					return len(messages), len(sent), errors.Join(postponed, d.mark(ctx, sent))
				}
			}
			return 0, len(sent), d.mark(ctx, sent)
		}
	}
	if len(sent) == 0 { // a server that takes none of these is not asked for all the others now
		return 0, 0, nil
	}
	return len(messages), len(sent), d.mark(ctx, sent)
}

// mark records what was told even where the job's own time is over.
func (d *Delivery) mark(ctx context.Context, sent []uuid.UUID) error {
	if len(sent) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := db.New(d.pool).MarkOutboxSent(ctx, d.now(), sent); err != nil {
		return fmt.Errorf("mark messages as sent: %w", err)
	}
	return nil
}

// failed postpones a message, or gives it up. What is logged has neither address nor text.
func (d *Delivery) failed(ctx context.Context, m db.LeaseOutboxRow, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	q := db.New(d.pool)
	if final := (*refused)(nil); errors.As(cause, &final) || int(m.Attempts) > len(pauses) {
		d.log.WarnContext(ctx, "mail given up", "kind", m.Kind, "natural_key", m.NaturalKey, "attempts", m.Attempts, "error", cause)
		d.givenUp.WithLabelValues(m.Kind).Inc()
		return q.GiveUpOutbox(ctx, d.now(), m.ID, m.Attempts)
	}
	d.log.InfoContext(ctx, "mail postponed", "kind", m.Kind, "natural_key", m.NaturalKey, "attempts", m.Attempts, "error", cause)
	d.postponed.Inc()
	return q.PostponeOutbox(ctx, d.now().Add(pauses[m.Attempts-1]), m.ID, m.Attempts)
}

// tell leaves the payload out of the log: it may say more about a person than a log should.
func (d *Delivery) tell(ctx context.Context, m db.LeaseOutboxRow) error {
	account, way := "", "log"
	if m.AccountID != nil {
		account = m.AccountID.String()
		if d.mailer != nil && d.mailer.templates[m.Kind] != nil {
			mailed, err := d.mail(ctx, m)
			if err != nil {
				return err
			}
			if mailed {
				way = "mail"
			}
		}
	}
	d.log.InfoContext(ctx, "outbox message", "kind", m.Kind, "natural_key", m.NaturalKey, "account", account, "by", way)
	return nil
}

// mail sends a message to the owner of its account. An account without anybody to write to is told to the log.
func (d *Delivery) mail(ctx context.Context, m db.LeaseOutboxRow) (bool, error) {
	address, err := db.New(d.pool).GetOutboxAddress(ctx, *m.AccountID)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find address: %w", err)
	}
	to, err := mail.ParseAddress(address)
	if err != nil {
		return false, fmt.Errorf("the owner's address is none: %w", &refused{}) // its text has the address in it
	}
	subject, body, err := d.mailer.templates.render(m.Kind, m.Payload)
	if err != nil {
		return false, err
	}
	text, err := d.mailer.compose(to, m.NaturalKey, subject, body, m.CreatedAt)
	if err != nil {
		return false, err
	}
	return true, d.mailer.send(ctx, to.Address, text)
}
