package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
)

// What a customer can do about a payment that is due.
const (
	ConfirmPayment      = "confirm_payment"       // the bank wants to be told that it is right
	UpdatePaymentMethod = "update_payment_method" // the card was declined: use another one, or pay the invoice by hand
)

// What is said of a subscription where there is none, and of a price that is not in the catalogue.
const (
	NoStatus    = "none"
	UnknownTier = "unknown"
)

// A State is how an account's subscription stands: the one that decides what it may use, or the latest.
type State struct {
	ID                 string     `json:"id,omitempty"`
	Tier               string     `json:"tier"`
	Status             string     `json:"status"`
	Interval           string     `json:"interval,omitempty"`
	Currency           string     `json:"currency,omitempty"`
	Quantity           int64      `json:"quantity,omitempty"`
	CurrentPeriodStart *time.Time `json:"current_period_start,omitempty"`
	CurrentPeriodEnd   *time.Time `json:"current_period_end,omitempty"`
	CancelAt           *time.Time `json:"cancel_at,omitempty"`
	CancelAtPeriodEnd  bool       `json:"cancel_at_period_end"`
	TrialEnd           *time.Time `json:"trial_end,omitempty"`
	EndedAt            *time.Time `json:"ended_at,omitempty"`
	Access             bool       `json:"access"`
	AccessUntil        *time.Time `json:"access_until,omitempty"`
	PausedBy           string     `json:"paused_by,omitempty"`
	Pending            *Foreseen  `json:"pending,omitempty"`
	Scheduled          *Foreseen  `json:"scheduled,omitempty"`
	Due                *Due       `json:"due,omitempty"`
}

// A Foreseen change waits: for its payment until At, or for At to take effect.
type Foreseen struct {
	Tier             string     `json:"tier"`
	Interval         string     `json:"interval,omitempty"`
	Quantity         int64      `json:"quantity"`
	At               *time.Time `json:"at,omitempty"`
	HostedInvoiceURL string     `json:"hosted_invoice_url,omitempty"`
}

// A Due is a payment that has not come in.
type Due struct {
	InvoiceID          string     `json:"invoice_id"`
	Amount             int64      `json:"amount"`
	Currency           string     `json:"currency"`
	Attempts           int64      `json:"attempts"`
	NextPaymentAttempt *time.Time `json:"next_payment_attempt,omitempty"`
	HostedInvoiceURL   string     `json:"hosted_invoice_url,omitempty"`
	Remedy             string     `json:"remedy"`
}

// State returns how the account's subscription stands.
func (s *Service) State(ctx context.Context, accountID uuid.UUID) (State, error) {
	standing, err := s.Accounts.Standing(ctx, accountID)
	if err != nil {
		return State{}, err
	}
	sub := standing.Subscription
	if sub == nil {
		return State{Tier: standing.Tier, Status: NoStatus}, nil
	}
	state := StateOf(*sub)
	return state, s.addOutlook(ctx, &state, sub.Subscription)
}

// StateOf is what is stored of a subscription, without what is going to happen.
func StateOf(sub account.SubscriptionState) State {
	state := State{
		ID: sub.ID, Tier: UnknownTier, Status: sub.Status, Currency: sub.Currency, Quantity: sub.Quantity,
		CurrentPeriodStart: sub.CurrentPeriodStart, CurrentPeriodEnd: sub.CurrentPeriodEnd, CancelAt: cancelAt(sub.Subscription),
		CancelAtPeriodEnd: sub.CancelAtPeriodEnd, TrialEnd: sub.TrialEnd, EndedAt: sub.EndedAt,
		Access: sub.Access, AccessUntil: sub.AccessUntil,
	}
	if sub.TierID != nil {
		state.Tier = *sub.TierID
	}
	if sub.Interval != nil {
		state.Interval = *sub.Interval
	}
	if sub.PauseBehavior != nil {
		state.PausedBy = *sub.PauseBehavior
	}
	return state
}

// cancelAt is when a cancellation takes effect, however it was asked for; nothing where it has.
func cancelAt(sub db.Subscription) *time.Time {
	switch {
	case sub.EndedAt != nil:
		return nil
	case sub.CancelAt != nil:
		return sub.CancelAt
	case sub.CancelAtPeriodEnd:
		return sub.CurrentPeriodEnd
	}
	return nil
}

// addOutlook adds what is going to happen, and what is to be paid.
func (s *Service) addOutlook(ctx context.Context, state *State, sub db.Subscription) error {
	if sub.EndedAt != nil {
		return nil
	}
	var err error
	if sub.ScheduledPriceID != nil {
		if state.Scheduled, err = s.foreseen(ctx, *sub.ScheduledPriceID, sub.ScheduledQuantity, sub.ScheduledAt); err != nil {
			return err
		}
	}
	if sub.PendingPriceID != nil {
		if state.Pending, err = s.foreseen(ctx, *sub.PendingPriceID, sub.PendingQuantity, sub.PendingExpiresAt); err != nil {
			return err
		}
	}
	due, url, err := s.due(ctx, sub)
	if err != nil {
		return err
	}
	switch sub.Status {
	case "past_due", "unpaid", "incomplete", "paused":
		state.Due = due
	}
	if state.Pending != nil {
		state.Pending.HostedInvoiceURL = url
	}
	return nil
}

func (s *Service) foreseen(ctx context.Context, priceID string, quantity *int64, at *time.Time) (*Foreseen, error) {
	f := &Foreseen{Tier: UnknownTier, Quantity: 1, At: at}
	if quantity != nil {
		f.Quantity = *quantity
	}
	price, known, err := catalog.PriceByStripeID(ctx, s.queries(), priceID)
	if err != nil {
		return nil, err
	}
	if known && price.TierID != "" {
		f.Tier, f.Interval = price.TierID, price.Interval
	}
	return f, nil
}

// due returns what is to be paid for a subscription, and where; nothing where nothing is.
func (s *Service) due(ctx context.Context, sub db.Subscription) (*Due, string, error) {
	row, err := s.queries().GetOpenInvoice(ctx, sub.AccountID, sub.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read open invoice: %w", err)
	}
	in := row.Invoice
	due := &Due{
		InvoiceID: in.ID, Amount: in.AmountRemaining, Currency: in.Currency, Attempts: in.AttemptCount,
		NextPaymentAttempt: in.NextPaymentAttempt, Remedy: UpdatePaymentMethod,
	}
	if in.HostedInvoiceURL != nil {
		due.HostedInvoiceURL = *in.HostedInvoiceURL
	}
	if row.PaymentStatus != nil && *row.PaymentStatus == "requires_action" {
		due.Remedy = ConfirmPayment
	}
	return due, due.HostedInvoiceURL, nil
}
