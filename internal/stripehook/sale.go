package stripehook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/catalog"
)

// Our catalogue is the source of products and prices at Stripe, so nothing that comes from there changes it. Where somebody
// has changed them in Stripe's dashboard, the operator is told.

type product struct {
	common
	Active bool `json:"active"`
}

type price struct {
	common
	Active     bool   `json:"active"`
	Currency   string `json:"currency"`
	UnitAmount *int64 `json:"unit_amount"`
	Recurring  struct {
		Interval string `json:"interval"`
	} `json:"recurring"`
}

// UnmarshalJSON takes an id for a price, too.
func (p *price) UnmarshalJSON(raw []byte) error {
	*p = price{}
	var id string
	if json.Unmarshal(raw, &id) == nil {
		p.ID = id
		return nil
	}
	type plain price
	return json.Unmarshal(raw, (*plain)(p))
}

func fetchProduct(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.Products.Get(id, &stripe.ProductParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	p := new(product)
	return p, read(got.LastResponse, p)
}

func fetchPrice(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.Prices.Get(id, &stripe.PriceParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	p := new(price)
	return p, read(got.LastResponse, p)
}

func checkProduct(ctx context.Context, t *settling, p *product) error {
	if p.Active {
		return nil
	}
	return productGone(ctx, t, p.ID)
}

// productGone tells the operator where a product that we sell is not for sale at Stripe.
func productGone(ctx context.Context, t *settling, id string) error {
	ours, err := t.q.FindStripeProductInCatalog(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !ours.OnSale {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find product: %w", err)
	}
	t.alarm("catalog_drift", "product", id, "ours", ours.ID)
	return nil
}

func checkPrice(ctx context.Context, t *settling, p *price) error {
	sold, known, err := catalog.PriceByStripeID(ctx, t.q, p.ID)
	if err != nil || !known {
		return err
	}
	// Credits are granted by our own catalogue; what somebody writes into the metadata is not believed.
	if said, given := p.Metadata["credits"]; given && said != strconv.FormatInt(sold.Credits, 10) {
		t.alarm("catalog_drift", "price", p.ID, "ours", sold.LookupKey, "field", "credits")
	}
	different := p.Currency != sold.Currency || p.UnitAmount == nil || *p.UnitAmount != sold.Amount
	if different || !p.Active && sold.ArchivedAt == nil {
		t.alarm("catalog_drift", "price", p.ID, "ours", sold.LookupKey)
	}
	return nil
}

// priceGone tells the operator where a price that we sell does not exist at Stripe.
func priceGone(ctx context.Context, t *settling, id string) error {
	sold, known, err := catalog.PriceByStripeID(ctx, t.q, id)
	if err != nil {
		return err
	}
	if known && sold.ArchivedAt == nil {
		t.alarm("catalog_drift", "price", id, "ours", sold.LookupKey)
	}
	return nil
}
