package stripehook_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripehook"
)

// refused posts a body under a header, wants it refused for its signature, and returns what the caller is told.
func (w *world) refused(header string, body []byte) string {
	w.t.Helper()
	err := w.service.Receive(w.t.Context(), header, body)
	var p *problem.Error
	if !errors.As(err, &p) || p.Kind != problem.InvalidSignature {
		w.t.Errorf("header %.60q: %v, want it refused", header, err)
		return ""
	}
	w.want("0 0", `SELECT (SELECT count(*) FROM stripe_events) || ' ' || (SELECT count(*) FROM stripe_quarantine)`)
	if n := len(w.emu.Requests()); n != 0 {
		w.t.Errorf("%d requests to Stripe", n)
	}
	return p.Kind.Code + p.Detail
}

func TestC01ValidEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	if err := w.service.Receive(t.Context(), sign(body, secret, time.Now()), body); err != nil {
		t.Fatal(err)
	}
	w.want("true", `SELECT payload = $1 AND sha256 = sha256($1) FROM stripe_events`, body)
	w.drain()
	w.wantAllDone(1)
	if n := len(w.emu.Requests()); n != 1 || w.gets("/v1/subscriptions/sub_1") != 1 {
		t.Errorf("requests to Stripe: %v", w.emu.Requests())
	}
	stored, _ := w.emu.Get("sub_1")
	w.want(fmt.Sprintf("sub_1 cus_1 active price_basic usd 1 %v %v f", stored["current_period_start"], stored["current_period_end"]),
		`SELECT concat_ws(' ', id, customer_id, status, price_id, currency, quantity, extract(epoch FROM current_period_start)::bigint,
			extract(epoch FROM current_period_end)::bigint, cancel_at_period_end) FROM subscriptions`)
}

func TestC02C03C08RefusalsLookAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	missing := w.refused("", body)
	forged := w.refused(sign(body, "whsec_other", time.Now()), body)
	stale := w.refused(sign(body, secret, time.Now().Add(-301*time.Second)), body)
	if diff := cmp.Diff([]string{missing, missing}, []string{forged, stale}); diff != "" {
		t.Errorf("the answers differ:\n%s", diff)
	}
	if n := w.metric("saaskit_stripe_signature_failures_total"); n != 3 {
		t.Errorf("%v failures counted", n)
	}
	if err := w.service.Receive(t.Context(), sign(body, secret, time.Now().Add(-290*time.Second)), body); err != nil {
		t.Errorf("signed within the tolerance: %v", err)
	}
}

func TestC04ChangedBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	w.refused(sign(body, secret, time.Now()), append(bytes.Clone(body), ' '))
}

func TestC05OnlyV0(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	w.refused(strings.Replace(sign(body, secret, time.Now()), "v1=", "v0=", 1), body)
}

func TestC06SeveralV1(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	for _, shape := range []string{"%[1]s,v1=%[2]s,v1=%[3]s", "%[1]s,v1=%[3]s,v1=%[2]s", "%[1]s,v1=zz,v1=%[2]s"} {
		body := encode(t, w.about("customer.subscription.updated", "sub_1"))
		stamp, right, _ := strings.Cut(sign(body, secret, time.Now()), ",v1=")
		_, wrong, _ := strings.Cut(sign(body, "whsec_other", time.Now()), ",v1=")
		if err := w.service.Receive(t.Context(), fmt.Sprintf(shape, stamp, right, wrong), body); err != nil {
			t.Errorf("%s: %v", shape, err)
		}
	}
	w.want("3", `SELECT count(*) FROM stripe_events`)
}

func TestC07SecretRotation(t *testing.T) {
	t.Parallel()
	const old = "whsec_old"
	w := newWorld(t, with(func(c *stripehook.Config) { c.Secrets = []string{" " + secret + "\n", old} }))
	w.signup()
	post := func(service *stripehook.Service, secrets ...string) (string, error) {
		event := w.about("customer.subscription.updated", "sub_1")
		body, now := encode(t, event), time.Now()
		header := sign(body, secrets[0], now)
		for _, s := range secrets[1:] {
			_, v1, _ := strings.Cut(sign(body, s, now), ",")
			header += "," + v1
		}
		return event["id"].(string), service.Receive(t.Context(), header, body)
	}
	for _, tt := range []struct {
		secrets []string
		index   string
	}{{[]string{old}, "1"}, {[]string{secret}, "0"}, {[]string{old, secret}, "0"}} {
		id, err := post(w.service, tt.secrets...)
		if err != nil {
			t.Errorf("signed by %v: %v", tt.secrets, err)
		}
		w.want(tt.index, `SELECT secret_index FROM stripe_events WHERE id = $1`, id)
	}
	if n := w.metric("saaskit_stripe_secret_used_total", "index", "1"); n != 1 {
		t.Errorf("the old secret was used %v times", n)
	}
	retired := w.newService()
	if _, err := post(retired, old); !is(err, problem.InvalidSignature) {
		t.Errorf("signed by a retired secret: %v", err)
	}
	if _, err := post(retired, secret); err != nil {
		t.Error(err)
	}
}

func TestC09DelayedRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("invoice.paid", "in_1")
	event["created"] = w.clock.Now().Add(-71 * time.Hour).Unix()
	w.settled(event)
	w.wantAllDone(1)
	w.want("10", `SELECT balance FROM credit_accounts`)
}

func TestC10ReplayInsideTheWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	body := encode(t, w.about("invoice.paid", "in_1"))
	header := sign(body, secret, time.Now())
	for i := range 3 {
		if err := w.service.Receive(t.Context(), header, body); err != nil {
			t.Errorf("delivery %d: %v", i, err)
		}
		w.drain()
	}
	w.want("3", `SELECT delivery_count FROM stripe_events`)
	w.want("10 1", `SELECT balance || ' ' || (SELECT count(*) FROM credit_entries) FROM credit_accounts`)
}

func TestC11MalformedHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	good := sign(body, secret, time.Now())
	for _, header := range []string{"t=,v1=aa", "v1=aa", "t=1", "garbage", good + ",", strings.Repeat("v1=aa,", 3500), strings.Replace(good, ",v1", ", v1", 1)} {
		started := time.Now()
		err := w.service.Receive(t.Context(), header, body)
		if took := time.Since(started); took > 50*time.Millisecond {
			t.Errorf("%.20q took %v", header, took)
		}
		if !is(err, problem.InvalidSignature) {
			t.Errorf("%.20q: %v", header, err)
		}
		w.refused(header, body)
	}
}

func TestC12MissingSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, secrets := range [][]string{nil, {}, {""}, {" \n", "\t"}} {
		_, err := stripehook.New(stripehook.Config{Pool: w.pool, Stripe: w.api, Secrets: secrets, AppEnv: appEnv, Now: time.Now})
		if err == nil {
			t.Errorf("made with secrets %q", secrets)
		}
	}
	w.signup()
	blank := w.newService(with(func(c *stripehook.Config) { c.Secrets = []string{"", secret, " "} }))
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	if err := blank.Receive(t.Context(), sign(body, "", time.Now()), body); !is(err, problem.InvalidSignature) {
		t.Errorf("signed with an empty key: %v", err)
	}
}
