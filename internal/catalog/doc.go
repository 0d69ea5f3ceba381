// Package catalog holds what is for sale: tiers with their prices, features, limits and allowances, credit packs and meters.
//
// The operator writes catalog.yaml; [Applier] brings Stripe and the tables to it. The tables change in one transaction after
// the last call to Stripe, so that a reader sees the old catalogue or the new one and nothing between.
//
// A price that was on sale is never changed: another amount is another price under the next lookup key (pro_month_usd,
// pro_month_usd_v2, …), and the old one is archived. Subscriptions go on at an archived price, which is why [PriceByStripeID]
// and [TierByID] find archived rows too.
package catalog
