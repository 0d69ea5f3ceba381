package postgres

import (
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// PeriodicJob is how a job that the clock starts is inserted: one at a time, and each with a single attempt. A failed one is
// not tried again, for the next comes anyway; if it were, its pauses, which grow to days, would keep the next ones away.
func PeriodicJob() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}
