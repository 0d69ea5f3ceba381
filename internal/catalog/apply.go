package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// applyLock is the advisory lock that an apply holds.
const applyLock = 7_202_310_162

// ErrRunning is the answer to an apply while another one runs.
var ErrRunning = errors.New("another apply of the catalogue is running")

// An EnvironmentError is the answer to a plan or an apply under another environment than the last apply's: none of what that one
// has made at Stripe would count, all of it would be made a second time, and its prices would go off sale.
type EnvironmentError struct {
	Applied, Now string
}

func (e *EnvironmentError) Error() string {
	return fmt.Sprintf("the catalogue of this database was applied as %q, and this is %q", e.Applied, e.Now)
}

// errGivenUp is the answer to an apply that lost its lock and whose intent another one has ended.
var errGivenUp = errors.New("the apply was ended by another process")

// Config is what an [Applier] needs.
type Config struct {
	Pool   *pgxpool.Pool
	Stripe *client.API
	AppEnv string // stamped on what is made at Stripe; what bears another stamp is left alone
	// ChangeEnvironment allows an apply under another AppEnv than the last one's, which puts everything on sale anew.
	ChangeEnvironment bool
	Now               func() time.Time
}

// An Applier brings Stripe and the tables to a document. Each apply looks at both first and does what is missing, so that one
// that was interrupted at any point is gone on with by the next.
type Applier struct{ Config }

// NewApplier returns an applier.
func NewApplier(c Config) *Applier { return &Applier{Config: c} }

// Plan tells what [Applier.Apply] would do, and changes nothing. It fails with an [EnvironmentError].
func (a *Applier) Plan(ctx context.Context, doc Document) (Plan, error) {
	if err := a.checkEnvironment(ctx); err != nil {
		return Plan{}, err
	}
	read, err := readTables(ctx, a.Pool)
	if err != nil {
		return Plan{}, fmt.Errorf("read catalogue: %w", err)
	}
	var plan Plan
	unfinished, found, err := unfinishedApply(ctx, db.New(a.Pool))
	if err != nil {
		return Plan{}, err
	}
	if found {
		plan.Resumes = unfinished.resumedBy(doc, a.AppEnv)
		plan.Supersedes = !plan.Resumes
	}
	p := planner{account: account{api: a.Stripe, env: a.AppEnv}, tables: read, doc: doc, at: a.Now(), plan: &plan}
	if err := p.run(ctx); err != nil {
		return Plan{}, fmt.Errorf("plan catalogue: %w", err)
	}
	return plan, nil
}

// checkEnvironment keeps a forgotten APP_ENV from replacing everything that is on sale.
func (a *Applier) checkEnvironment(ctx context.Context) error {
	if a.ChangeEnvironment {
		return nil
	}
	applied, err := db.New(a.Pool).GetCatalogEnvironment(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read environment of last apply: %w", err)
	}
	if applied != nil && *applied != a.AppEnv {
		return &EnvironmentError{Applied: *applied, Now: a.AppEnv}
	}
	return nil
}

// Apply brings Stripe and the tables to the document and returns what it did. confirm sees the plan before anything is done
// and may refuse it. The order is: what is new at Stripe, then the tables in one transaction, then, when no process sells by
// the old tables any more, what is archived at Stripe. It fails with [ErrRunning] while another apply runs, and with an
// [EnvironmentError].
func (a *Applier) Apply(ctx context.Context, doc Document, confirm func(Plan) error) (Plan, error) {
	release, err := a.lock(ctx)
	if err != nil {
		return Plan{}, err
	}
	defer release()
	plan, err := a.Plan(ctx, doc)
	if err != nil {
		return Plan{}, err
	}
	if err := confirm(plan); err != nil || plan.Empty() {
		return plan, err
	}
	id, err := a.intend(ctx, doc)
	if err != nil {
		return plan, fmt.Errorf("write down what is to be applied: %w", err)
	}
	if err := a.perform(ctx, id, plan.before, &plan.stored); err != nil {
		return plan, err
	}
	if err := a.write(ctx, id, plan.stored); err != nil {
		return plan, fmt.Errorf("write catalogue: %w", err)
	}
	if len(plan.after) > 0 {
		if err := sleep(ctx, Freshness); err != nil {
			return plan, err
		}
	}
	if err := a.perform(ctx, id, plan.after, &plan.stored); err != nil {
		return plan, err
	}
	return plan, a.finish(ctx, id)
}

// lock keeps other applies out until release. The lock is a session's: it needs no transaction, which would have to stay open
// while Stripe is called, and a process that dies gives it back.
func (a *Applier) lock(ctx context.Context) (release func(), err error) {
	conn, err := a.Pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock catalogue: %w", err)
	}
	release = func() {
		ctx := context.WithoutCancel(ctx)
		if unlocked, err := db.New(conn).UnlockCatalog(ctx, applyLock); err != nil || !unlocked {
			_ = conn.Conn().Close(ctx) // the end of the session gives the lock back, too
		}
		conn.Release()
	}
	locked, err := db.New(conn).TryLockCatalog(ctx, applyLock)
	if err == nil && !locked {
		err = ErrRunning
	}
	if err != nil {
		conn.Release()
		return nil, fmt.Errorf("lock catalogue: %w", err)
	}
	return release, nil
}

type intent struct {
	id          uuid.UUID
	environment *string // nil is not known
	doc         Document
}

// resumedBy tells whether an apply goes on with this one: its steps mean the same under the same environment only.
func (i intent) resumedBy(doc Document, environment string) bool {
	return (i.environment == nil || *i.environment == environment) && reflect.DeepEqual(i.doc, doc)
}

func unfinishedApply(ctx context.Context, q *db.Queries) (intent, bool, error) {
	row, err := q.GetUnfinishedApply(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return intent{}, false, nil
	}
	if err != nil {
		return intent{}, false, fmt.Errorf("read unfinished apply: %w", err)
	}
	in := intent{id: row.ID, environment: row.Environment}
	if err := json.Unmarshal(row.Catalog, &in.doc); err != nil {
		return intent{}, false, fmt.Errorf("decode unfinished apply: %w", err)
	}
	return in, true, nil
}

// intend writes the intent. One that is unfinished is gone on with under its own id, and so with the idempotency keys that
// Stripe has seen, or given up where it was for another document.
func (a *Applier) intend(ctx context.Context, doc Document) (uuid.UUID, error) {
	id := postgres.NewID()
	raw, err := json.Marshal(doc)
	if err != nil {
		return id, err
	}
	err = postgres.InTx(ctx, a.Pool, func(q *db.Queries) error {
		before, found, err := unfinishedApply(ctx, q)
		if err != nil {
			return err
		}
		if found && before.resumedBy(doc, a.AppEnv) {
			id = before.id
			return nil
		}
		if found {
			if err := q.SupersedeApply(ctx, a.Now(), before.id); err != nil {
				return err
			}
		}
		return q.InsertApply(ctx, db.InsertApplyParams{ID: id, Catalog: raw, Environment: a.AppEnv, CreatedAt: a.Now()})
	})
	return id, err
}

func (a *Applier) perform(ctx context.Context, id uuid.UUID, steps []step, stored *Stored) error {
	for _, s := range steps {
		stripeID, err := s.do(ctx, "catalog:"+id.String()+":"+s.name, stored)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		row := db.RecordApplyStepParams{ApplyID: id, Step: s.name, StripeID: stripeID, DoneAt: a.Now()}
		if err := db.New(a.Pool).RecordApplyStep(ctx, row); err != nil {
			return fmt.Errorf("record %s: %w", s.name, err)
		}
	}
	return nil
}

func (a *Applier) write(ctx context.Context, id uuid.UUID, stored Stored) error {
	return postgres.InTx(ctx, a.Pool, func(q *db.Queries) error {
		current, found, err := unfinishedApply(ctx, q)
		if err != nil {
			return err
		}
		if !found || current.id != id {
			return errGivenUp
		}
		return Write(ctx, q, a.Now(), stored)
	})
}

func (a *Applier) finish(ctx context.Context, id uuid.UUID) error {
	rows, err := db.New(a.Pool).FinishApply(ctx, a.Now(), id)
	if err == nil && rows == 0 {
		err = errGivenUp
	}
	if err != nil {
		return fmt.Errorf("finish apply: %w", err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
