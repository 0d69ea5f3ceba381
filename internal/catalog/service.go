package catalog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/problem"
)

// Freshness is how long a process goes on with the catalogue that it read last.
const Freshness = time.Second

// An Offer is a tier with all that is said about it.
type Offer struct {
	Tier
	Features []Feature
	Prices   []Price // on sale; empty for the free tier and for an archived one
}

// A Pack is a credit pack on sale.
type Pack struct {
	ID               string
	Name             string
	Credits          int64
	ExpiresAfterDays int     // 0 is never
	Prices           []Price // one for each currency
}

// A Service reads the catalogue. Its answers are at most [Freshness] old and must not be changed.
type Service struct {
	pool *pgxpool.Pool

	mu     sync.Mutex
	last   snapshot
	readAt time.Time
}

type snapshot struct {
	offers map[string]Offer
	tiers  []Offer // on sale, by rank
	packs  []Pack  // on sale, smallest first
}

// New returns a service on the tables.
func New(pool *pgxpool.Pool) *Service { return &Service{pool: pool} }

// Tiers returns the tiers that can be had, in the order of their rank.
func (s *Service) Tiers(ctx context.Context) ([]Offer, error) {
	now, err := s.current(ctx)
	return now.tiers, err
}

// Tier returns one tier, archived or not: accounts may still be subscribed to an archived one. It fails with
// [problem.NotFound] where there never was one.
func (s *Service) Tier(ctx context.Context, id string) (Offer, error) {
	now, err := s.current(ctx)
	if err != nil {
		return Offer{}, err
	}
	offer, ok := now.offers[id]
	if !ok {
		return Offer{}, problem.NotFound.Errorf("there is no tier %q", id)
	}
	return offer, nil
}

// CreditPacks returns the packs on sale, smallest first.
func (s *Service) CreditPacks(ctx context.Context) ([]Pack, error) {
	now, err := s.current(ctx)
	return now.packs, err
}

// TierPrice returns the price on sale of a tier. It fails with [problem.PriceNotFound] where there is none, as for the free
// tier.
func (s *Service) TierPrice(ctx context.Context, tierID, interval, currency string) (Price, error) {
	now, err := s.current(ctx)
	if err != nil {
		return Price{}, err
	}
	return onSale(now.offers[tierID].Prices, tierID, func(p Price) bool { return p.Interval == interval && p.Currency == currency })
}

// PackPrice returns the price on sale of a credit pack. It fails with [problem.PriceNotFound] where there is none.
func (s *Service) PackPrice(ctx context.Context, packID, currency string) (Price, error) {
	now, err := s.current(ctx)
	if err != nil {
		return Price{}, err
	}
	var prices []Price
	for _, p := range now.packs {
		if p.ID == packID {
			prices = p.Prices
		}
	}
	return onSale(prices, packID, func(p Price) bool { return p.Currency == currency })
}

func onSale(prices []Price, id string, match func(Price) bool) (Price, error) {
	if i := slices.IndexFunc(prices, match); i >= 0 {
		return prices[i], nil
	}
	if len(prices) == 0 {
		return Price{}, problem.PriceNotFound.Errorf("%q is not for sale", id)
	}
	return Price{}, problem.PriceNotFound.Errorf("%q is not for sale at this interval and in this currency", id)
}

// current returns a snapshot. Whoever comes while it is read waits for that one reading. Its age is real time: a clock that
// was moved or stands still says nothing about what other processes have written.
func (s *Service) current(ctx context.Context) (snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := time.Now()
	if s.last.offers != nil && asked.Sub(s.readAt) < Freshness {
		return s.last, nil
	}
	read, err := readSnapshot(ctx, s.pool)
	if err != nil {
		return snapshot{}, fmt.Errorf("read catalogue: %w", err)
	}
	s.last, s.readAt = read, asked
	return read, nil
}

// Forget makes the next reader of this process read the tables again.
func (s *Service) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = snapshot{}
}
