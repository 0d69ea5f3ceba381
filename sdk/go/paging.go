package saaskit

import "iter"

// All walks a list over its pages. page fetches one page and returns its elements and the cursor of the next; it is called
// with nil for the first page:
//
//	for entry, err := range saaskit.All(func(cursor *string) ([]saaskit.CreditTransaction, *string, error) {
//		r, err := saaskit.Check(c.ListCreditTransactionsWithResponse(ctx, &saaskit.ListCreditTransactionsParams{Cursor: cursor}))
//		if err != nil {
//			return nil, nil, err
//		}
//		return r.JSON200.Data, r.JSON200.NextCursor, nil
//	}) {
//
// An error ends the walk and comes with the zero element.
func All[T any](page func(cursor *string) ([]T, *string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var cursor *string
		for {
			data, next, err := page(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, element := range data {
				if !yield(element, nil) {
					return
				}
			}
			if next == nil || *next == "" {
				return
			}
			cursor = next
		}
	}
}
