package supabase_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"example.com/saaskit/internal/devstack/supabase"
)

// FuzzRequests sends any body, query and token to every endpoint: whatever
// comes, no panic and no 5xx.
func FuzzRequests(f *testing.F) {
	bodies := []string{
		"", "null", "[]", "{", `"`, "1e999", `{"email":"ana@example.com","password":"correct horse","data":{"a":[null]}}`,
		`{"email":"new@example.com","password":"123456"}`, `{"refresh_token":"abcdefghijkl"}`, `{"auth_code":"a","code_verifier":"b"}`,
		`{"type":"signup","token":"1","email":"ana@example.com"}`, `{"type":"email","token_hash":"x"}`,
		`{"email":"\u0000@example.com"}`, `{"phone":"+49"}`, `{"ban_duration":"9999999h","email_confirm":true}`,
		`{"ban_duration":"-1h","app_metadata":{"providers":1},"user_metadata":null}`,
		`{"type":"email_change_new","email":"ana@example.com","new_email":"eve@example.com"}`,
		`{"type":"invite","email":"eve@example.com","redirect_to":"%zz"}`, `{"should_soft_delete":true}`,
	}
	for _, body := range bodies {
		f.Add(body, "grant_type=password&scope=others&type=signup&token=x", "")
		f.Add(body, "grant_type=refresh_token&page=9223372036854775807&per_page=1", "a.b.c")
		f.Add(body, "grant_type=pkce&redirect_to=javascript:alert(1)", "eyJhbGciOiJub25lIn0.e30.")
	}
	endpoints := []string{
		"POST /signup", "POST /token", "GET /user", "PUT /user", "POST /logout", "POST /recover", "POST /verify", "GET /verify",
		"POST /otp", "POST /magiclink", "POST /resend", "GET /reauthenticate", "POST /invite", "POST /admin/users",
		"GET /admin/users", "GET /admin/users/{id}", "PUT /admin/users/{id}", "POST /admin/generate_link",
		"GET /.well-known/jwks.json", "GET /.well-known/openid-configuration", "GET /health", "GET /settings",
		"DELETE /admin/users/{id}",
	}
	f.Fuzz(func(t *testing.T, body, query, token string) {
		s, err := supabase.New(supabase.Config{
			Issuer: issuer, JWTSecret: secret, Mode: supabase.Both, BcryptCost: bcrypt.MinCost, Anonymous: true,
			Now: start,
		})
		if err != nil {
			t.Fatal(err)
		}
		id, sess, err := s.SignUp("ana@example.com", password, supabase.SignUpOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, endpoint := range endpoints {
			method, path, _ := strings.Cut(strings.ReplaceAll(endpoint, "{id}", id), " ")
			for _, bearer := range []string{token, sess.AccessToken, s.ServiceRoleKey()} {
				// The request is made by hand: httptest panics over a bad query.
				r := httptest.NewRequestWithContext(t.Context(), method, "/auth/v1"+path, strings.NewReader(body))
				r.URL.RawQuery = query
				r.Header["Authorization"] = []string{"Bearer " + bearer}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				if w.Code >= http.StatusInternalServerError {
					t.Fatalf("%s?%s with %q: got %d: %s", endpoint, query, body, w.Code, w.Body)
				}
			}
		}
	})
}
