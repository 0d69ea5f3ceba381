package stripecontract_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripecontract"
)

func load(t *testing.T) *stripecontract.Contract {
	t.Helper()
	contract, err := stripecontract.Load()
	if err != nil {
		t.Fatal(err)
	}
	return contract
}

// TestVersion fails when stripe-go and the document part ways, so that an
// upgrade of one of them cannot pass unnoticed.
func TestVersion(t *testing.T) {
	t.Parallel()
	const want = "2023-10-16"
	if got := load(t).Version(); got != want || stripe.APIVersion != want {
		t.Errorf("document %s, stripe-go %s, want %s", got, stripe.APIVersion, want)
	}
}

// newRequest writes a request as stripe-go does: parameters in the query of a
// GET, in the body of everything else.
func newRequest(t *testing.T, method, path, params string) *http.Request {
	t.Helper()
	values, err := url.ParseQuery(params)
	if err != nil {
		t.Fatal(err)
	}
	target, body := "http://stripe.test"+path, values.Encode()
	if method == http.MethodGet {
		target, body = target+"?"+body, ""
	}
	request, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	request.Header.Set("Stripe-Version", "2023-10-16")
	return request
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	contract := load(t)
	for _, call := range []string{
		"POST /v1/customers email=a@b.c&metadata[a]=1&address[country]=DE",
		"POST /v1/customers/cus_1 metadata=&name=",
		"GET /v1/customers limit=100&created[gte]=1&created[lt]=2",
		"POST /v1/products name=x&metadata[tier]=pro",
		"POST /v1/prices currency=usd&product=prod_1&unit_amount=5&recurring[interval]=month&currency_options[eur][unit_amount]=4",
		"POST /v1/prices/price_1 active=false&lookup_key=k&transfer_lookup_key=true",
		"GET /v1/prices lookup_keys[]=a&lookup_keys[]=b&active=true&expand[]=data.currency_options",
		"POST /v1/checkout/sessions mode=subscription&line_items[0][price]=p&line_items[0][quantity]=2&success_url=https://x.test/&subscription_data[metadata][a]=b",
		"POST /v1/checkout/sessions mode=payment&line_items[0][price]=p&line_items[0][quantity]=1&success_url=https://x.test/&payment_intent_data[metadata][a]=b",
		"POST /v1/subscriptions/sub_1 cancel_at_period_end=true&metadata[a]=",
		"POST /v1/subscriptions/sub_1 items[0][id]=si_1&items[0][price]=p&proration_behavior=always_invoice&payment_behavior=pending_if_incomplete",
		"POST /v1/subscriptions/sub_1 trial_end=now", "POST /v1/subscriptions/sub_1 cancel_at=",
		"DELETE /v1/subscriptions/sub_1 prorate=true",
		"GET /v1/subscriptions/sub_1 expand[]=latest_invoice.payment_intent&expand[]=items.data.price.product",
		"GET /v1/subscriptions status=all&expand[]=data.customer",
		"GET /v1/invoices/upcoming customer=cus_1&subscription=sub_1",
		"GET /v1/events types[]=invoice.paid&delivery_success=false&created[gte]=5",
		"POST /v1/webhook_endpoints url=https://x.test/hook&enabled_events[]=*&api_version=2023-10-16",
		"POST /v1/refunds charge=ch_1&amount=5&reason=requested_by_customer",
	} {
		method, path, params := split(call)
		if _, err := contract.Decode(newRequest(t, method, path, params)); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func split(call string) (method, path, params string) {
	method, rest, _ := strings.Cut(call, " ")
	path, params, _ = strings.Cut(rest, " ")
	return method, path, params
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	contract := load(t)
	const checkout = "POST /v1/checkout/sessions mode=subscription&line_items[0][price]=p&success_url=https://x.test/"
	long := strings.Repeat("x", 5001)
	tests := []struct{ name, call, param, code string }{
		{"unknown", "POST /v1/products name=x&bogus=1", "bogus", "parameter_unknown"},
		{"unknown in a query", "GET /v1/prices bogus=1", "bogus", "parameter_unknown"},
		{"unknown where nothing is allowed", "DELETE /v1/customers/cus_1 bogus=1", "bogus", "parameter_unknown"},
		{"unknown below a list", checkout + "&line_items[0][bogus]=1", "line_items[0][bogus]", "parameter_unknown"},
		{"unknown below an object", checkout + "&subscription_data[bogus]=1", "subscription_data[bogus]", "parameter_unknown"},
		{"unknown below an alternative", "GET /v1/events created[bogus]=1", "created[bogus]", "parameter_unknown"},
		{"missing", "POST /v1/products active=true", "name", "parameter_missing"},
		{"missing below", "POST /v1/prices currency=usd&product=p&unit_amount=1&recurring[interval_count]=1", "recurring[interval]", "parameter_missing"},
		{"enum", "POST /v1/checkout/sessions mode=sub", "mode", ""},
		{"enum below", "POST /v1/prices currency=usd&product=p&unit_amount=1&recurring[interval]=fortnight", "recurring[interval]", ""},
		{"integer", "POST /v1/prices currency=usd&product=p&unit_amount=1.5", "unit_amount", ""},
		{"boolean", "POST /v1/products name=x&active=maybe", "active", ""},
		{"too long", "POST /v1/products name=" + long, "name", ""},
		{"nested metadata", "POST /v1/customers metadata[a][b]=1", "metadata[a]", ""},
		{"unknown event type", "POST /v1/webhook_endpoints url=https://x.test/&enabled_events[]=made.up", "enabled_events[0]", ""},
		{"expand of a plain field", "GET /v1/subscriptions/sub_1 expand[]=status", "expand", ""},
		{"expand of a later version", "GET /v1/invoices/in_1 expand[]=confirmation_secret", "expand", ""},
		{"expand too deep", "GET /v1/subscriptions expand[]=data.latest_invoice.payment_intent.latest_charge.customer", "expand", ""},
		{"limit", "GET /v1/prices limit=101", "limit", "parameter_invalid_integer"},
		{"two cursors", "GET /v1/prices starting_after=a&ending_before=b", "ending_before", "parameters_exclusive"},
		{"customer and email", checkout + "&customer=c&customer_email=a@b.c", "customer_email", "parameters_exclusive"},
		{"other mode's data", checkout + "&payment_intent_data[description]=x", "payment_intent_data", ""},
		{"no success_url", "POST /v1/checkout/sessions mode=payment&line_items[0][price]=p", "success_url", "parameter_missing"},
		{"relative URL", "POST /v1/checkout/sessions mode=payment&line_items[0][price]=p&success_url=/done", "success_url", "url_invalid"},
		{"no product", "POST /v1/prices currency=usd&unit_amount=1", "product", "parameter_missing"},
		{"coupon and code", "POST /v1/subscriptions customer=c&coupon=a&promotion_code=b", "promotion_code", "parameters_exclusive"},
		{"metadata of a pending update", "POST /v1/subscriptions/sub_1 payment_behavior=pending_if_incomplete&metadata[a]=b", "metadata", ""},
		{"charge and intent", "POST /v1/refunds charge=ch_1&payment_intent=pi_1", "payment_intent", "parameters_exclusive"},
		{"long metadata key", "POST /v1/customers metadata[" + long[:41] + "]=1", "metadata[" + long[:41] + "]", ""},
		{"no such URL", "GET /v1/nothing ", "", "url_invalid"},
		{"method of another", "DELETE /v1/prices/price_1 ", "", "url_invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			method, path, params := split(tt.call)
			_, err := contract.Decode(newRequest(t, method, path, params))
			refusal, ok := errors.AsType[*stripecontract.Error](err)
			if !ok {
				t.Fatalf("got %v, want a refusal", err)
			}
			if refusal.Param != tt.param || refusal.Code != tt.code || refusal.Status/100 != 4 {
				t.Errorf("got param %q, code %q, status %d (%v)", refusal.Param, refusal.Code, refusal.Status, err)
			}
		})
	}
}

// TestDecodeVersion wants the pinned version or none.
func TestDecodeVersion(t *testing.T) {
	t.Parallel()
	contract := load(t)
	for version, ok := range map[string]bool{"": true, "2023-10-16": true, "2024-04-10": false, "2025-03-31.basil": false} {
		request := newRequest(t, http.MethodGet, "/v1/prices", "")
		request.Header.Set("Stripe-Version", version)
		if _, err := contract.Decode(request); (err == nil) != ok {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

func TestDecodeTypes(t *testing.T) {
	t.Parallel()
	request := newRequest(t, http.MethodPost, "/v1/prices/price_9", "active=false&metadata[n]=5&expand[]=product")
	call, err := load(t).Decode(request)
	if err != nil {
		t.Fatal(err)
	}
	metadata, _ := call.Params["metadata"].(map[string]any)
	if call.Params["active"] != false || metadata["n"] != "5" || call.Path["price"] != "price_9" ||
		len(call.Expand) != 1 || call.Params["expand"] != nil || call.Pattern != "/v1/prices/{price}" {
		t.Errorf("got %+v", call)
	}
	if again, err := load(t).Decode(request); err != nil || again.Params["active"] != false {
		t.Errorf("the body is gone after a first reading: %+v, %v", again, err)
	}
}
