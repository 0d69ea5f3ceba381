package stripehook

import (
	"context"
)

// Work makes one attempt at an event, as the job does.
func (s *Service) Work(ctx context.Context, eventID string, last bool) error {
	return s.work(ctx, eventID, last)
}

// Requeue does the periodic work.
func (s *Service) Requeue(ctx context.Context) error { return s.requeue(ctx) }

// ParseEnvelope returns the texts that are stored of an event, its id first, and whether it is one.
func ParseEnvelope(body []byte) (texts []string, ok bool) {
	e, reason, err := parseEnvelope(body)
	return []string{e.ID, e.Type, e.APIVersion, e.Account, e.ObjectKind, e.ObjectID, e.CustomerID, reason}, err == nil
}
