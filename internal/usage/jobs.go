package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// PartitionsArgs is the job that makes the partitions of the months to come.
type PartitionsArgs struct{}

// Kind names the job.
func (PartitionsArgs) Kind() string { return "usage_partitions" }

// InsertOpts keeps one such job at a time.
func (PartitionsArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// AddWorkers registers what the package's jobs do.
func (s *Service) AddWorkers(w *river.Workers) {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[PartitionsArgs]) error { return s.MakePartitions(ctx) }))
}

// PeriodicJobs are the package's regular jobs.
func (s *Service) PeriodicJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{river.NewPeriodicJob(
		river.PeriodicInterval(time.Hour),
		func() (river.JobArgs, *river.InsertOpts) { return PartitionsArgs{}, nil },
		&river.PeriodicJobOpts{RunOnStart: true},
	)}
}

// MakePartitions makes the partitions that events of the next two months need and that are missing. The server calls it before
// it serves; any number of instances may do so at once.
func (s *Service) MakePartitions(ctx context.Context) error {
	if _, err := db.New(s.pool).MakeUsagePartitions(ctx, s.now()); err != nil {
		return fmt.Errorf("make usage partitions: %w", err)
	}
	return nil
}
