package httpapi

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/ratelimit"
)

const tagAuth = "auth"

// operatorLimit is for a service key, whichever account it works for: the limits of tiers are for customers.
var operatorLimit = ratelimit.Limit{PerMinute: 6000, Burst: 1000}

// limitPublic counts a request without a credential, by its address. Stripe's webhook is not limited, for a burst of events is
// ordinary.
func (r *router) limitPublic(o *operation, c echo.Context) error {
	switch {
	case o.schemes[schemeStripeSignature]:
		return nil
	case o.signsIn():
		return r.take(c, "auth:ip:"+addressOf(c), r.authLimit)
	}
	return r.take(c, "public:ip:"+addressOf(c), r.publicLimit)
}

// limitPrincipal counts a request of somebody known: sign-in flows per address, everything else per account by its tier. It
// returns the bucket.
func (r *router) limitPrincipal(o *operation, c echo.Context, p account.Principal) (bucket string, err error) {
	if o.signsIn() {
		bucket = "auth:ip:" + addressOf(c)
		return bucket, r.take(c, bucket, r.authLimit)
	}
	bucket, limit, err := r.limitOf(c.Request().Context(), p)
	if err != nil {
		return bucket, err
	}
	return bucket, r.take(c, bucket, limit)
}

// limitNamed counts a request for the account that it names, where that is not the principal's own, in place of the bucket that
// has paid for the question whether the principal may.
func (r *router) limitNamed(o *operation, c echo.Context, paid string, own, acting account.Principal) error {
	if o.signsIn() || own.Kind == account.KindService || sameAccount(own.AccountID, acting.AccountID) {
		return nil
	}
	r.limiter.GiveBack(paid)
	bucket, limit, err := r.limitOf(c.Request().Context(), acting)
	if err != nil {
		return err
	}
	return r.take(c, bucket, limit)
}

func sameAccount(a, b *uuid.UUID) bool { return a == b || a != nil && b != nil && *a == *b }

// take takes a token, and tells with the answer what is left.
func (r *router) take(c echo.Context, bucket string, limit ratelimit.Limit) error {
	d := r.limiter.Take(c.Request().Context(), bucket, limit)
	setLimitHeaders(c, d)
	if !d.Allowed {
		return problem.RateLimited.Errorf("wait and try again").After(d.RetryAfter)
	}
	return nil
}

// limitOf is the bucket of a principal: that of the account which it works for, or a service key's own.
func (r *router) limitOf(ctx context.Context, p account.Principal) (string, ratelimit.Limit, error) {
	if p.Kind == account.KindService {
		return p.String(), operatorLimit, nil
	}
	if p.AccountID == nil {
		return p.String(), r.publicLimit, nil
	}
	limit, err := r.tierLimit(ctx, *p.AccountID)
	return "account:" + p.AccountID.String(), limit, err
}

// addressOf is whom a limit per address counts.
func addressOf(c echo.Context) string {
	addr, err := netip.ParseAddr(c.RealIP())
	if err != nil {
		return c.RealIP()
	}
	return ratelimit.Address(addr)
}

// tierLimit is what the account's effective tier allows.
func (r *router) tierLimit(ctx context.Context, accountID uuid.UUID) (ratelimit.Limit, error) {
	standing, err := r.services.Accounts.Standing(ctx, accountID)
	if err != nil {
		return ratelimit.Limit{}, err
	}
	tier, err := r.services.Catalog.Tier(ctx, standing.Tier)
	if errors.Is(err, problem.NotFound) {
		return r.publicLimit, nil // nothing is on sale yet
	}
	if err != nil {
		return ratelimit.Limit{}, err
	}
	return ratelimit.Limit{PerMinute: tier.Limits.RequestsPerMinute, Burst: tier.Limits.Burst}, nil
}

// limitEmail counts sign-in flows per e-mail address too: whoever comes from many addresses still guesses at one user. That
// includes who is signed in and changes the address, for Supabase sends a mail to the new one, whosever it is.
func (r *router) limitEmail(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if !o.signsIn() {
			return next
		}
		return func(c echo.Context) error {
			email := bodyEmail(c)
			if email == "" {
				return next(c)
			}
			d := r.limiter.Take(c.Request().Context(), "auth:email:"+email, r.emailLimit)
			if !d.Allowed {
				setLimitHeaders(c, d)
				return problem.RateLimited.Errorf("too many tries for this e-mail address; wait and try again").After(d.RetryAfter)
			}
			return next(c)
		}
	}
}

// bodyEmail reads the address from the value that was validated.
func bodyEmail(c echo.Context) string {
	validated, ok := c.Request().Body.(interface{ ValidatedValue() any })
	if !ok {
		return ""
	}
	body, _ := validated.ValidatedValue().(map[string]any)
	email, _ := body["email"].(string)
	return strings.ToLower(email)
}

func setLimitHeaders(c echo.Context, d ratelimit.Decision) {
	// Set would make the canonical names anew for every answer, and a slice for each of them.
	h, values := c.Response().Header(), []string{strconv.Itoa(d.Limit), strconv.Itoa(d.Remaining), seconds(d.Reset)}
	h["Ratelimit-Limit"], h["Ratelimit-Remaining"], h["Ratelimit-Reset"] = values[0:1:1], values[1:2:2], values[2:3:3]
}

func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }
