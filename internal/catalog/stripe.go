package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
)

// Metadata of our products and prices at Stripe.
const (
	metaEnv     = "app_env"
	metaTier    = "tier"
	metaPack    = "credit_pack"
	metaCredits = "credits"
)

// lookupBatch is how many lookup keys one listing may name.
const lookupBatch = 10

// account is the part of a Stripe account that belongs to one environment.
type account struct {
	api *client.API
	env string
}

// foreign tells whether something was made by another environment on the same Stripe account. What bears no stamp was made by
// hand and may be taken.
func (a account) foreign(metadata map[string]string) bool {
	env := metadata[metaEnv]
	return env != "" && env != a.env
}

// versions finds the prices under a lookup key and its later versions, also those that other environments made.
func (a account) versions(ctx context.Context, base string, atLeast int) (map[int]*stripe.Price, error) {
	found := map[int]*stripe.Price{}
	for first := 1; ; first += lookupBatch {
		keys := make([]string, lookupBatch)
		numbers := make(map[string]int, lookupBatch)
		for i := range keys {
			keys[i] = versionKey(base, first+i)
			numbers[keys[i]] = first + i
		}
		params := &stripe.PriceListParams{LookupKeys: stripe.StringSlice(keys)}
		params.Context, params.Limit = ctx, stripe.Int64(100)
		list := a.api.Prices.List(params)
		last := false
		for list.Next() {
			p := list.Price()
			if n, ok := numbers[p.LookupKey]; ok && p.ID != "" {
				found[n] = p
				last = last || n == first+lookupBatch-1
			}
		}
		if err := list.Err(); err != nil {
			return nil, fmt.Errorf("list prices %s at Stripe: %w", base, plain(err))
		}
		if !last && first+lookupBatch > atLeast {
			return found, nil
		}
	}
}

// product fetches a product. It reports false where there is none, or no more.
func (a account) product(ctx context.Context, id string) (*stripe.Product, bool, error) {
	params := &stripe.ProductParams{}
	params.Context = ctx
	p, err := a.api.Products.Get(id, params)
	if isMissing(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("fetch product %s from Stripe: %w", id, plain(err))
	}
	return p, !p.Deleted, nil
}

// productID is the id that we give to the product of a tier or pack, so that making it twice makes one.
func (a account) productID(kind, id string) string {
	env := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, a.env)
	return fmt.Sprintf("saaskit_%s_%s_%s", env, kind, id)
}

func (a account) createProduct(ctx context.Context, key, id string, it item) (string, error) {
	params := a.productParams(ctx, key, it)
	params.ID = stripe.String(id)
	p, err := a.api.Products.New(params)
	if err != nil {
		return "", plain(err)
	}
	return p.ID, nil
}

func (a account) updateProduct(ctx context.Context, key, id string, it item) error {
	params := a.productParams(ctx, key, it)
	params.Active = stripe.Bool(true)
	_, err := a.api.Products.Update(id, params)
	return plain(err)
}

func (a account) productParams(ctx context.Context, key string, it item) *stripe.ProductParams {
	params := &stripe.ProductParams{Name: stripe.String(it.name), Metadata: map[string]string{metaEnv: a.env, it.meta(): it.id}}
	if it.description != "" {
		params.Description = stripe.String(it.description)
	}
	params.Context = ctx
	params.SetIdempotencyKey(key)
	return params
}

func (a account) archiveProduct(ctx context.Context, key, id string) error {
	params := &stripe.ProductParams{Active: stripe.Bool(false)}
	params.Context = ctx
	params.SetIdempotencyKey(key)
	_, err := a.api.Products.Update(id, params)
	return plain(err)
}

func (a account) createPrice(ctx context.Context, key, product string, p Price) (string, error) {
	params := &stripe.PriceParams{
		Product: stripe.String(product), Currency: stripe.String(p.Currency), UnitAmount: stripe.Int64(p.Amount),
		LookupKey: stripe.String(p.LookupKey), Metadata: map[string]string{metaEnv: a.env},
	}
	if p.TierID != "" {
		params.Recurring = &stripe.PriceRecurringParams{Interval: stripe.String(p.Interval)}
		params.Metadata[metaTier] = p.TierID
	} else {
		params.Metadata[metaPack] = p.PackID
		params.Metadata[metaCredits] = strconv.FormatInt(p.Credits, 10)
	}
	params.Context = ctx
	params.SetIdempotencyKey(key)
	created, err := a.api.Prices.New(params)
	if err != nil {
		return "", plain(err)
	}
	return created.ID, nil
}

func (a account) setPriceActive(ctx context.Context, key, id string, active bool) error {
	params := &stripe.PriceParams{Active: stripe.Bool(active)}
	params.Context = ctx
	params.SetIdempotencyKey(key)
	_, err := a.api.Prices.Update(id, params)
	return plain(err)
}

// isMissing tells whether Stripe has no such object.
func isMissing(err error) bool {
	var e *stripe.Error
	return errors.As(err, &e) && e.HTTPStatusCode == http.StatusNotFound
}

// plain gives an error of Stripe as one line; its own text is a JSON document.
func plain(err error) error {
	var e *stripe.Error
	if !errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("stripe says %d %s: %s (request %s)", e.HTTPStatusCode, e.Code, e.Msg, e.RequestID)
}
