package stripehook

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
)

// webhookPath is where our endpoint is, on whatever host.
const webhookPath = "/v1/webhooks/stripe"

// maxSkew is how far our clock may be from Stripe's: signatures are good for five minutes.
const maxSkew = time.Minute

// An Endpoint is a webhook endpoint as it was set up.
type Endpoint struct {
	ID      string
	Secret  string // only of a new one: Stripe shows it once
	Created bool
}

// SetUp makes the webhook endpoint for a URL, with the version that the server reads and the events that it looks at. One that is
// there is brought up to date, all but its version: that is given when an endpoint is made.
func SetUp(ctx context.Context, api *client.API, url string) (Endpoint, error) {
	all, _, err := endpoints(ctx, api)
	if err != nil {
		return Endpoint{}, err
	}
	params := &stripe.WebhookEndpointParams{Params: stripe.Params{Context: ctx}, EnabledEvents: stripe.StringSlice(EventTypes())}
	for _, e := range all {
		if e.URL != url {
			continue
		}
		if e.APIVersion != apiVersion {
			return Endpoint{}, fmt.Errorf("the endpoint %s at this URL sends version %q: delete it at Stripe and run this again", e.ID, shownVersion(e.APIVersion))
		}
		params.Disabled = stripe.Bool(false)
		if _, err := api.WebhookEndpoints.Update(e.ID, params); err != nil {
			return Endpoint{}, fmt.Errorf("update webhook endpoint: %w", err)
		}
		return Endpoint{ID: e.ID}, nil
	}
	params.URL, params.APIVersion = stripe.String(url), stripe.String(apiVersion)
	params.Description = stripe.String("saaskit")
	made, err := api.WebhookEndpoints.New(params)
	if err != nil {
		return Endpoint{}, fmt.Errorf("make webhook endpoint: %w", err)
	}
	return Endpoint{ID: made.ID, Secret: made.Secret, Created: true}, nil
}

// A Finding is something that is not right with the way that events take, and what to do about it.
type Finding struct{ What, Do string }

// An Examination is what was looked at: an endpoint's URL, empty where it is not known which one is ours, and what is not right.
type Examination struct {
	URL   string
	Found []Finding
}

// Examine looks at our endpoint at Stripe: the one with the URL, or without one the only one whose path is ours. Several may be those of
// other environments of the same account, so none of them is judged. live is whether our key is of live mode.
func Examine(ctx context.Context, api *client.API, url string, live bool, now time.Time) (Examination, error) {
	all, header, err := endpoints(ctx, api)
	if err != nil {
		return Examination{}, err
	}
	var found []Finding
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		if skew := now.Sub(at); skew.Abs() > maxSkew {
			found = append(found, Finding{fmt.Sprintf("our clock is %s from Stripe's", skew.Round(time.Second)), "set the clock of this machine: signatures older than five minutes are refused"})
		}
	}
	ours := slices.DeleteFunc(all, func(e *stripe.WebhookEndpoint) bool {
		return url != "" && e.URL != url || url == "" && !strings.HasSuffix(e.URL, webhookPath)
	})
	var urls []string
	for _, e := range ours {
		if !slices.Contains(urls, e.URL) {
			urls = append(urls, e.URL)
		}
	}
	switch {
	case len(ours) == 0 && url != "":
		return Examination{url, append(found, Finding{"there is no webhook endpoint with this URL at Stripe", "run `saaskit stripe setup -url " + url + "`"})}, nil
	case len(ours) == 0:
		return Examination{"", append(found, Finding{"there is no webhook endpoint at Stripe", "run `saaskit stripe setup -url https://…" + webhookPath + "`"})}, nil
	case len(urls) > 1:
		return Examination{"", append(found, Finding{"several webhook endpoints could be ours: " + strings.Join(urls, ", "), "name the one of this environment with -url"})}, nil
	}
	for _, e := range ours {
		found = append(found, examine(e, live)...)
	}
	return Examination{urls[0], found}, nil
}

func examine(e *stripe.WebhookEndpoint, live bool) []Finding {
	var found []Finding
	add := func(do, what string, args ...any) {
		found = append(found, Finding{fmt.Sprintf("endpoint %s: ", e.ID) + fmt.Sprintf(what, args...), do})
	}
	if e.Status != "enabled" {
		add("enable it in Stripe's dashboard or by `saaskit stripe setup`, then run `saaskit events sweep`: what was due meanwhile is not delivered", "is %s", e.Status)
	}
	if e.APIVersion != apiVersion {
		add("events are understood all the same; make a new endpoint with `saaskit stripe setup` at another URL or after deleting this one", "sends version %s, not %s", shownVersion(e.APIVersion), apiVersion)
	}
	if e.Livemode != live {
		add("use the key of that mode, or make an endpoint in this one", "has livemode %t, and our key %t", e.Livemode, live)
	}
	if slices.Contains(e.EnabledEvents, "*") {
		return found
	}
	var missing []string
	for _, eventType := range EventTypes() {
		if !slices.Contains(e.EnabledEvents, eventType) {
			missing = append(missing, eventType)
		}
	}
	if len(missing) > 0 {
		add("run `saaskit stripe setup`", "does not send %s", strings.Join(missing, ", "))
	}
	return found
}

func shownVersion(version string) string {
	if version == "" {
		return "of the account"
	}
	return version
}

// endpoints lists all webhook endpoints, with the header of Stripe's answer.
func endpoints(ctx context.Context, api *client.API) ([]*stripe.WebhookEndpoint, http.Header, error) {
	params := &stripe.WebhookEndpointListParams{}
	params.Context, params.Limit = ctx, stripe.Int64(pageSize)
	list := api.WebhookEndpoints.List(params)
	var all []*stripe.WebhookEndpoint
	header := http.Header{}
	for list.Next() {
		all = append(all, list.WebhookEndpoint())
	}
	if err := list.Err(); err != nil {
		return nil, nil, fmt.Errorf("list webhook endpoints: %w", err)
	}
	if answer := list.WebhookEndpointList().LastResponse; answer != nil {
		header = answer.Header
	}
	return all, header, nil
}
