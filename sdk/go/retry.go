package saaskit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	firstPause = 200 * time.Millisecond
	longPause  = 30 * time.Second

	tryTimeout = time.Minute
	// exportTimeout is a little more than the server gives the one operation that may take longer than a minute.
	exportTimeout = 310 * time.Second
	exportPath    = "/v1/users/me/export"
	running       = "idempotency_in_progress"
)

// A retrier tries a request again where the server may have lost it and doing it twice is safe.
type retrier struct {
	next    http.RoundTripper
	retries int
	timeout time.Duration // of one try; 0 is what the operation needs
}

// RoundTrip sends the request, and again after an error or an answer that invites it.
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	pause := firstPause
	for try := 0; ; try++ {
		res, err := r.once(req)
		if try >= r.retries || !repeatable(req) || !worthwhile(req, res, err) {
			return res, err
		}
		wait := pauseBefore(res, pause)
		if res != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
			res.Body.Close()
		}
		if err := sleep(req, wait); err != nil {
			return nil, err
		}
		pause *= 2
		if req, err = again(req); err != nil {
			return nil, err
		}
	}
}

// once sends the request with a bound of its own, which ends when the answer is read.
func (r *retrier) once(req *http.Request) (*http.Response, error) {
	limit := r.timeout
	if limit == 0 {
		limit = tryTimeout
		if strings.HasSuffix(req.URL.Path, exportPath) {
			limit = exportTimeout
		}
	}
	ctx, cancel := context.WithTimeout(req.Context(), limit)
	res, err := r.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = &boundBody{res.Body, cancel}
	return res, nil
}

// A boundBody frees the bound of its try when it is closed.
type boundBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *boundBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// repeatable tells whether sending the request twice does no more than once.
func repeatable(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return req.Header.Get("Idempotency-Key") != ""
}

func worthwhile(req *http.Request, res *http.Response, err error) bool {
	if err != nil {
		return req.Context().Err() == nil
	}
	switch res.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict:
		return stillRunning(res)
	}
	return false
}

// stillRunning tells whether an earlier try, whose answer got lost, is worked on: asking again later brings its answer. The body
// stays to be read.
func stillRunning(res *http.Response) bool {
	const most = 64 << 10
	start, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return false
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), res.Body), res.Body}
	var p struct{ Code string }
	return json.Unmarshal(start, &p) == nil && p.Code == running
}

// pauseBefore is what the server asks for in Retry-After, else the growing pause with jitter.
func pauseBefore(res *http.Response, pause time.Duration) time.Duration {
	if res != nil {
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s >= 0 {
			return min(time.Duration(s)*time.Second, longPause)
		}
	}
	return pause/2 + rand.N(pause/2)
}

func sleep(req *http.Request, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-req.Context().Done():
		return req.Context().Err()
	case <-timer.C:
		return nil
	}
}

// again makes a fresh copy of the request: a body can be read once only.
func again(req *http.Request) (*http.Request, error) {
	clone := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody {
		return clone, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("saaskit: the body of the request cannot be sent again")
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	clone.Body = body
	return clone, nil
}
