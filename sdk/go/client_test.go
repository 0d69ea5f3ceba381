package saaskit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	saaskit "example.com/saaskit/sdk/go"
)

func serve(t *testing.T, handler http.HandlerFunc, options ...saaskit.Option) *saaskit.Client {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	c, err := saaskit.New(srv.URL, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	if status >= 400 {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

const refused = `{"type":"/problems/insufficient_credits","title":"t","status":402,"code":"insufficient_credits","detail":"5 and 3","request_id":"r"}`

func TestRefusalIsAnError(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != "sk_1" || r.Header.Get("Saaskit-Account") != "acc" {
			t.Errorf("credential or account is missing: %v", r.Header)
		}
		answer(w, 402, refused)
	}, saaskit.WithAPIKey("sk_1"), saaskit.WithAccount("acc"))
	_, err := saaskit.Check(c.ConsumeCreditsWithResponse(t.Context(), nil, saaskit.ConsumeRequest{Amount: 5}))
	var refusal *saaskit.Error
	if !errors.As(err, &refusal) || refusal.StatusCode != http.StatusPaymentRequired || !saaskit.IsCode(err, "insufficient_credits") {
		t.Fatalf("got %v", err)
	}
	if refusal.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(err.Error(), "5 and 3") {
		t.Errorf("header or detail is lost: %v", err)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		call func(context.Context, *saaskit.Client) error
		want int32
	}{
		{"a GET", func(ctx context.Context, c *saaskit.Client) error {
			_, err := saaskit.Check(c.GetCreditsWithResponse(ctx, nil))
			return err
		}, 3},
		{"a POST with a key", func(ctx context.Context, c *saaskit.Client) error {
			_, err := saaskit.Check(c.ConsumeCreditsWithResponse(ctx, &saaskit.ConsumeCreditsParams{IdempotencyKey: saaskit.NewIdempotencyKey()},
				saaskit.ConsumeRequest{Amount: 5}))
			return err
		}, 3},
		{"a POST without a key", func(ctx context.Context, c *saaskit.Client) error {
			_, err := saaskit.Check(c.ConsumeCreditsWithResponse(ctx, nil, saaskit.ConsumeRequest{Amount: 5}))
			return err
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			var bodies [3]string
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				n := calls.Add(1)
				body, _ := io.ReadAll(r.Body)
				bodies[n-1] = string(body) + r.Header.Get("Idempotency-Key")
				if n < 3 {
					w.Header().Set("Retry-After", "0")
					answer(w, 503, `{}`)
					return
				}
				answer(w, 200, `{}`)
			})
			err := tt.call(t.Context(), c)
			if got := calls.Load(); got != tt.want || (err == nil) != (tt.want == 3) {
				t.Errorf("%d calls and %v, want %d", got, err, tt.want)
			}
			if tt.want == 3 && (bodies[0] != bodies[1] || bodies[1] != bodies[2]) {
				t.Errorf("a retry is another request: %q", bodies)
			}
		})
	}
}

func TestAllWalksThePages(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"":  `{"data":[{"id":"in_1","status":"paid"},{"id":"in_2","status":"paid"}],"next_cursor":"b"}`,
		"b": `{"data":[{"id":"in_3","status":"open"}]}`,
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 200, pages[r.URL.Query().Get("cursor")]) })
	var got []string
	for invoice, err := range saaskit.All(func(cursor *string) ([]saaskit.Invoice, *string, error) {
		r, err := saaskit.Check(c.ListInvoicesWithResponse(t.Context(), &saaskit.ListInvoicesParams{Cursor: cursor}))
		if err != nil {
			return nil, nil, err
		}
		return r.JSON200.Data, r.JSON200.NextCursor, nil
	}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, invoice.ID)
	}
	if fmt.Sprint(got) != "[in_1 in_2 in_3]" {
		t.Errorf("got %v", got)
	}
}

// The bound is each try's: a slow one is given up and tried again, and all together may take longer.
func TestTimeoutIsOfEachTry(t *testing.T) {
	t.Parallel()
	const bound = 300 * time.Millisecond
	var tries atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) < 3 {
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
			return
		}
		time.Sleep(bound / 3)
		answer(w, 200, `{"available":1,"held":0,"balance":1,"lots":[]}`)
	}, saaskit.WithTimeout(bound))
	begun := time.Now()
	if _, err := saaskit.Check(c.GetCreditsWithResponse(t.Context(), nil)); err != nil || tries.Load() != 3 {
		t.Errorf("after %d tries: %v", tries.Load(), err)
	}
	if took := time.Since(begun); took < 2*bound {
		t.Errorf("three tries took %v", took)
	}
}

// The bound holds while the answer is read, too.
func TestTimeoutOfTheBody(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, saaskit.WithTimeout(100*time.Millisecond), saaskit.WithRetries(0))
	if _, err := c.GetCreditsWithResponse(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the time", err)
	}
}

// A request whose first try is still worked on is asked for again; any other conflict is not.
func TestRetriesWhatIsStillRunning(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]int32{"idempotency_in_progress": 2, "idempotency_key_reused": 1} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tries.Add(1) == 2 {
					answer(w, 200, `{"transaction_id":"00000000-0000-4000-8000-000000000000","amount":5,"available":1}`)
					return
				}
				w.Header().Set("Retry-After", "0")
				answer(w, 409, `{"type":"t","title":"t","status":409,"code":"`+code+`","request_id":"r"}`)
			})
			params := &saaskit.ConsumeCreditsParams{IdempotencyKey: saaskit.NewIdempotencyKey()}
			_, err := saaskit.Check(c.ConsumeCreditsWithResponse(t.Context(), params, saaskit.ConsumeRequest{Amount: 5}))
			if tries.Load() != want || (want == 1) != saaskit.IsCode(err, code) {
				t.Errorf("%d tries, %v; want %d", tries.Load(), err, want)
			}
		})
	}
}
