package stripehook

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stripe/stripe-go/v76"
)

const (
	pageSize = 100
	maxPages = 50 // no list of ours is longer; a list that does not end is a fault
)

// pages reads a whole list from its first page on. It decodes the answers itself, as [read] does. An object embeds only the
// first elements of its lists, and the rest costs money, too.
func pages[T any](params *stripe.ListParams, list func() (*stripe.APIResponse, error), id func(T) string) ([]T, error) {
	var all []T
	for range maxPages {
		answer, err := list()
		if err != nil {
			return nil, err
		}
		var page struct {
			Data    []T  `json:"data"`
			HasMore bool `json:"has_more"`
		}
		if answer == nil {
			return nil, errors.New("no answer")
		}
		if err := json.Unmarshal(answer.RawJSON, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if !page.HasMore || len(page.Data) == 0 {
			return all, nil
		}
		params.StartingAfter = stripe.String(id(page.Data[len(page.Data)-1]))
	}
	return nil, fmt.Errorf("list of more than %d elements", maxPages*pageSize)
}
