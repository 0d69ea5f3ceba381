package servetest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"example.com/saaskit/internal/api"
)

// A Request is one request to the server.
type Request struct {
	Method, Path string
	Body         any // JSON; a string goes as it is
	Token        string
	Key          string
	Header       map[string]string
	More         http.Header // beside Header, where one comes several times
	Base         string      // another instance
}

// A Response is an answer, its body read.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	t      testing.TB
}

// requestTimeout bounds a request of a test.
const requestTimeout = 30 * time.Second

// Do sends a request and holds the answer against the document.
func (w *World) Do(t testing.TB, r Request) Response {
	t.Helper()
	req := w.newRequest(t, r)
	client := http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.Path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.Path, err)
	}
	checkAnswer(t, req, res, body)
	return Response{Status: res.StatusCode, Header: res.Header, Body: body, t: t}
}

func (w *World) newRequest(t testing.TB, r Request) *http.Request {
	t.Helper()
	base := r.Base
	if base == "" {
		base = w.BaseURL
	}
	var body io.Reader = http.NoBody
	switch b := r.Body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), r.Method, base+r.Path, body)
	if err != nil {
		t.Fatal(err)
	}
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	if r.Key != "" {
		req.Header.Set("X-API-Key", r.Key)
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	for name, values := range r.More {
		for _, value := range values {
			req.Header.Add(name, value)
		}
	}
	return req
}

// Want fails the test where the status is another one, and decodes the body into v where v is not nil.
func (r Response) Want(status int, v any) Response {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("status %d, want %d: %s", r.Status, status, r.Body)
	}
	if v != nil {
		if err := json.Unmarshal(r.Body, v); err != nil {
			r.t.Fatalf("decode %s: %v", r.Body, err)
		}
	}
	return r
}

// WantProblem fails the test where the answer is not this refusal.
func (r Response) WantProblem(status int, code string) Response {
	r.t.Helper()
	if got := r.Code(); r.Status != status || got != code {
		r.t.Fatalf("answered %d %s, want %d %s: %s", r.Status, got, status, code, r.Body)
	}
	return r
}

// Code is the code of a refusal, or nothing.
func (r Response) Code() string {
	var p api.Problem
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(r.Body, &p) != nil {
		return ""
	}
	return p.Code
}

// checkAnswer holds an answer against the operation that the request called, where it is one.
func checkAnswer(t testing.TB, req *http.Request, res *http.Response, body []byte) {
	t.Helper()
	if res.Header.Get("X-Request-Id") == "" {
		t.Errorf("%s %s: the answer has no request id", req.Method, req.URL.Path)
	}
	router := documentRouter(t)
	route, params, err := router.FindRoute(req)
	if err != nil {
		return // no operation of the document
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(t.Context(), in); err != nil {
		t.Errorf("%s %s: the answer is not as the document says: %v\n%s", req.Method, req.URL.Path, err, body)
	}
}

func documentRouter(t testing.TB) routers.Router {
	t.Helper()
	router, err := newDocumentRouter()
	if err != nil {
		t.Fatal(err)
	}
	return router
}

// newDocumentRouter reads the document once: to do so takes longer than most requests.
var newDocumentRouter = sync.OnceValues(func() (routers.Router, error) {
	doc, err := api.GetSpec()
	if err != nil {
		return nil, err
	}
	doc.Servers = nil
	return gorillamux.NewRouter(doc)
})

// Document loads the OpenAPI document.
func Document(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil
	return doc
}
