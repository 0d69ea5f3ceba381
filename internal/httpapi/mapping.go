package httpapi

import "example.com/saaskit/internal/page"

// pageOf makes a page request of the parameters that every list has; the document says that limit is 1 to 100.
func pageOf(limit *int, cursor *string) page.Request {
	return page.Request{Limit: valueOr(limit, 20), Cursor: valueOr(cursor, "")}
}

// replayed is the value of the header Idempotent-Replayed, which is left out where the answer is new.
func replayed(is bool) *string {
	if !is {
		return nil
	}
	value := "true"
	return &value
}

// valueOr is what p points to, or other where it points to nothing.
func valueOr[T any](p *T, other T) T {
	if p == nil {
		return other
	}
	return *p
}

// optional leaves an empty text out of the answer.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
