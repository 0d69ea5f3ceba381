package httpapi

import (
	"context"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/catalog"
)

// ListTiers answers GET /v1/tiers.
func (s *Server) ListTiers(ctx context.Context, _ api.ListTiersRequestObject) (api.ListTiersResponseObject, error) {
	offers, err := s.Catalog.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]api.Tier, len(offers))
	for i, o := range offers {
		list[i] = toTier(o)
	}
	return api.ListTiers200JSONResponse{Data: list}, nil
}

// GetTier answers GET /v1/tiers/{tier}.
func (s *Server) GetTier(ctx context.Context, req api.GetTierRequestObject) (api.GetTierResponseObject, error) {
	offer, err := s.Catalog.Tier(ctx, req.Tier)
	if err != nil {
		return nil, err
	}
	return api.GetTier200JSONResponse(toTier(offer)), nil
}

// ListCreditPacks answers GET /v1/credit-packs.
func (s *Server) ListCreditPacks(ctx context.Context, _ api.ListCreditPacksRequestObject) (api.ListCreditPacksResponseObject, error) {
	packs, err := s.Catalog.CreditPacks(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]api.CreditPack, len(packs))
	for i, p := range packs {
		list[i] = toCreditPack(p)
	}
	return api.ListCreditPacks200JSONResponse{Data: list}, nil
}

func toTier(o catalog.Offer) api.Tier {
	t := api.Tier{
		ID: o.ID, Name: o.Name, Description: o.Description, Rank: o.Rank,
		Limits:   api.TierLimits{RequestsPerMinute: o.Limits.RequestsPerMinute, Burst: o.Limits.Burst, APIKeys: o.Limits.APIKeys},
		Features: make([]api.Feature, len(o.Features)), Prices: make([]api.TierPrice, len(o.Prices)),
	}
	if o.TrialDays > 0 {
		t.TrialDays = &o.TrialDays
	}
	if o.MaxQuantity > 1 {
		t.MaxQuantity = &o.MaxQuantity
	}
	for i, f := range o.Features {
		t.Features[i] = api.Feature{ID: f.ID, Name: f.Name, Value: optional(f.Value)}
	}
	for i, p := range o.Prices {
		t.Prices[i] = api.TierPrice{Interval: api.Interval(p.Interval), Amount: p.Amount, Currency: p.Currency}
	}
	if o.Allowance.Amount > 0 {
		t.Credits = &api.Allowance{Amount: o.Allowance.Amount, Every: catalog.Month, Rollover: new(o.Allowance.Rollover)}
	}
	return t
}

func toCreditPack(p catalog.Pack) api.CreditPack {
	k := api.CreditPack{ID: p.ID, Name: p.Name, Credits: p.Credits, Prices: make([]api.Money, len(p.Prices))}
	if p.ExpiresAfterDays > 0 {
		k.ExpiresAfterDays = &p.ExpiresAfterDays
	}
	for i, price := range p.Prices {
		k.Prices[i] = api.Money{Amount: price.Amount, Currency: price.Currency}
	}
	return k
}
