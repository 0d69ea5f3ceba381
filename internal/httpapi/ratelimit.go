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

// limitRate counts requests: sign-in flows and public operations per address, everything else per account by its tier.
// Stripe's webhook is not limited, for a burst of events is ordinary.
func (r *router) limitRate(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if o.schemes[schemeStripeSignature] {
				return next(c)
			}
			key, limit, err := r.limitOf(o, c)
			if err != nil {
				return err
			}
			d := r.limiter.Take(c.Request().Context(), key, limit)
			setLimitHeaders(c, d)
			if !d.Allowed {
				return problem.RateLimited.Errorf("wait and try again").After(d.RetryAfter)
			}
			return next(c)
		}
	}
}

func (r *router) limitOf(o *operation, c echo.Context) (string, ratelimit.Limit, error) {
	if o.tag == tagAuth && changes(o.method) {
		return "auth:ip:" + addressOf(c), r.authLimit, nil
	}
	if o.public() {
		return "public:ip:" + addressOf(c), r.publicLimit, nil
	}
	p := callerOf(c.Request().Context()).Principal
	if p.Kind == account.KindService {
		return p.String(), operatorLimit, nil
	}
	if p.AccountID == nil {
		return p.String(), r.publicLimit, nil
	}
	limit, err := r.tierLimit(c.Request().Context(), *p.AccountID)
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

// limitEmail counts sign-in flows per e-mail address too: whoever comes from many addresses still guesses at one user.
func (r *router) limitEmail(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if o.tag != tagAuth || !o.public() {
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
