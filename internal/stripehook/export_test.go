package stripehook

import (
	"context"
)

// Work makes one attempt at an event, as the job does.
func (s *Service) Work(ctx context.Context, eventID string, last bool) error {
	return s.work(ctx, eventID, try{last: last})
}

// WithheldGrants lists the ids of what was withheld and can be granted by now.
func (s *Service) WithheldGrants(ctx context.Context, most int32) (ids []string, err error) {
	rows, err := s.withheldGrants(ctx, most)
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	return ids, err
}

// Requeue does the periodic work.
func (s *Service) Requeue(ctx context.Context) error { return s.requeue(ctx) }

// ParseEnvelope returns the texts that are stored of an event, its id first, and whether it is one.
func ParseEnvelope(body []byte) (texts []string, ok bool) {
	e, reason, err := parseEnvelope(body)
	return []string{e.ID, e.Type, e.APIVersion, e.Account, e.ObjectKind, e.ObjectID, e.CustomerID, reason}, err == nil
}

// AlarmReasons are the reasons whose counters are there from the beginning.
func AlarmReasons() []string { return alarmReasons }
