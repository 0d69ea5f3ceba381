package stripehook_test

import (
	"log/slog"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/origin"
)

// shop is the other side of the house, where customers buy what the catalogue has.
func (w *world) shop() *billing.Service {
	w.t.Helper()
	for _, p := range catalogtest.Catalogue().Prices {
		o := w.price(p.StripePriceID, p.Interval, p.Amount, p.Currency)
		w.put("product", object{"id": o["product"], "name": p.LookupKey, "active": true})
	}
	log := slog.New(slog.DiscardHandler)
	c, err := cache.Open(w.t.Context(), redistest.New(w.t), "shop", log)
	w.must(err)
	w.t.Cleanup(c.Close)
	accounts, err := account.New(account.Config{Pool: w.pool, Cache: c, Log: log, Now: w.clock.Now, Policy: account.DefaultPolicy()})
	w.must(err)
	origins, err := origin.Parse([]string{"https://app.example.com"})
	w.must(err)
	return billing.New(billing.Config{
		Pool: w.pool, Stripe: w.api, Catalog: catalog.New(w.pool), Accounts: accounts, Origins: origins,
		AppEnv: appEnv, Now: w.clock.Now, Log: log,
	})
}

// checkout opens a page on which the account can pay for its wish.
func (w *world) checkout(shop *billing.Service, accountID uuid.UUID, wish billing.Wish) billing.Session {
	w.t.Helper()
	wish.AccountID, wish.Currency = accountID, "usd"
	wish.SuccessURL, wish.CancelURL = "https://app.example.com/ok", "https://app.example.com/no"
	wish.Actor = audit.Operator("shop")
	session, _, err := shop.OpenCheckout(w.t.Context(), wish)
	w.must(err)
	return session
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
