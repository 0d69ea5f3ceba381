package stripehook

import (
	"encoding/json"

	"example.com/saaskit/internal/db"
)

// A schedule is what a subscription follows. Payloads of events have its id only, our own fetch expands it.
type schedule struct {
	ID           string          `json:"id"`
	Phases       []schedulePhase `json:"phases"`
	CurrentPhase *struct {
		Start stamp `json:"start_date"`
		End   stamp `json:"end_date"`
	} `json:"current_phase"`
}

type schedulePhase struct {
	Start stamp `json:"start_date"`
	Items []struct {
		Price    price  `json:"price"`
		Quantity *int64 `json:"quantity"`
	} `json:"items"`
}

// UnmarshalJSON takes an id for a schedule, too.
func (s *schedule) UnmarshalJSON(raw []byte) error {
	*s = schedule{}
	var id string
	if json.Unmarshal(raw, &id) == nil {
		s.ID = id
		return nil
	}
	type plain schedule
	return json.Unmarshal(raw, (*plain)(s))
}

// next is the phase that follows the current one; nil where there is none.
func (s *schedule) next() *schedulePhase {
	if s.CurrentPhase == nil || s.CurrentPhase.End.Time == nil {
		return nil
	}
	for i := range s.Phases {
		if p := &s.Phases[i]; p.Start.Time != nil && !p.Start.Before(*s.CurrentPhase.End.Time) && len(p.Items) > 0 {
			return p
		}
	}
	return nil
}

// foresee writes down what is going to happen to the subscription: the change that waits for its payment, and the one that its
// schedule has next. A phase that changes neither price nor quantity is none.
func (s *subscription) foresee(row *db.UpsertSubscriptionParams) {
	if u := s.PendingUpdate; u != nil {
		row.PendingExpiresAt = u.ExpiresAt.Time
		if len(u.Items) > 0 {
			quantity := u.Items[0].count()
			row.PendingPriceID, row.PendingQuantity = &u.Items[0].Price.ID, &quantity
		}
	}
	row.ScheduleID = optional(s.Schedule.ID)
	next := s.Schedule.next()
	if next == nil {
		return
	}
	item, quantity := next.Items[0], int64(1)
	if item.Quantity != nil {
		quantity = *item.Quantity
	}
	if item.Price.ID == row.PriceID && quantity == row.Quantity {
		return
	}
	row.ScheduledPriceID, row.ScheduledQuantity, row.ScheduledAt = &item.Price.ID, &quantity, next.Start.Time
}
