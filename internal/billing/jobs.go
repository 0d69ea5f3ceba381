package billing

import (
	"context"
	"time"

	"github.com/riverqueue/river"
)

// AddWorkers registers what the package's jobs do.
func (s *Service) AddWorkers(w *river.Workers) {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[EmailArgs]) error {
		_, err := s.TellEmails(ctx)
		return err
	}))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[ChangesArgs]) error {
		_, err := s.FinishChanges(ctx)
		return err
	}))
}

// PeriodicJobs are the package's regular jobs.
func (s *Service) PeriodicJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(time.Minute), func() (river.JobArgs, *river.InsertOpts) { return EmailArgs{}, nil }, nil),
		river.NewPeriodicJob(river.PeriodicInterval(time.Minute), func() (river.JobArgs, *river.InsertOpts) { return ChangesArgs{}, nil }, nil),
	}
}
