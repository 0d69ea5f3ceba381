package stripehook

import (
	"encoding/json"
	"fmt"
	"time"
)

// A ref is the id of an object: Stripe writes it as a string, or as the object itself where it is expanded. Null is empty.
type ref string

// UnmarshalJSON reads either form.
func (r *ref) UnmarshalJSON(raw []byte) error {
	*r = ""
	var id string
	if json.Unmarshal(raw, &id) == nil {
		*r = ref(id)
		return nil
	}
	var object struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return fmt.Errorf("read reference: %w", err)
	}
	*r = ref(object.ID)
	return nil
}

// pointer is nil for no id.
func (r ref) pointer() *string {
	if r == "" {
		return nil
	}
	id := string(r)
	return &id
}

// A stamp is a time in seconds. Null and zero are unknown, never a value.
type stamp struct{ *time.Time }

const maxYear = 10_000

// UnmarshalJSON reads seconds.
func (s *stamp) UnmarshalJSON(raw []byte) error {
	s.Time = nil
	var seconds *int64
	if err := json.Unmarshal(raw, &seconds); err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	if seconds == nil || *seconds == 0 {
		return nil
	}
	t := time.Unix(*seconds, 0).UTC()
	if t.Year() >= maxYear || t.Year() < 1 {
		return fmt.Errorf("read time: %d is out of range", *seconds)
	}
	s.Time = &t
	return nil
}

// orElse is the stamp's time, or another one where it is unknown.
func (s stamp) orElse(t time.Time) time.Time {
	if s.Time == nil {
		return t
	}
	return *s.Time
}

// optional is nil for an empty text.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
