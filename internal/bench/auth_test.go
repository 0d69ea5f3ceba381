package bench_test

import (
	"crypto/sha256"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/bcrypt"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres/pgtest"
)

const (
	jwtSecret       = "a-secret-for-benchmarks-with-32-characters"
	authentications = 4000
)

// benchAuth measures authentication alone, every cache warm. HS256 tokens are verified each time; the claims of an ES256 token
// are remembered, so that one beats its floor.
func benchAuth(b *testing.B, r *report) {
	pool, log := openPool(b), slog.New(slog.DiscardHandler)
	catalogtest.Apply(b, pool)
	shared, err := cache.Open(b.Context(), redistest.New(b), "bench", log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(shared.Close)

	accounts, err := account.New(account.Config{Pool: pool, Cache: shared, Log: log, Now: time.Now, Policy: account.DefaultPolicy()})
	if err != nil {
		b.Fatal(err)
	}
	users, project := newAuth(b, accounts, log)
	subject, _, err := project.SignUp("ana@example.com", "correct horse battery", supabase.SignUpOptions{})
	if err != nil {
		b.Fatal(err)
	}
	claims := project.Claims(subject)
	hs256 := project.Mint(claims)
	floor := oneByOne(b, func() error {
		_, err := jwt.Parse(hs256, func(*jwt.Token) (any, error) { return []byte(jwtSecret), nil }, jwt.WithValidMethods([]string{"HS256"}))
		return err
	})
	for _, token := range []struct{ name, text string }{{"jwt_hs256", hs256}, {"jwt_es256_cached", project.MintES256(claims)}} {
		r.compare(token.name, nanos, "golang-jwt, HS256", floor, oneByOne(b, func() error {
			_, err := users.Authenticate(b.Context(), token.text)
			return err
		}))
	}

	user, owner := pgtest.User(b, pool)
	keys := apikey.New(apikey.Config{Pool: pool, Cache: shared, Log: log, Now: time.Now, Policy: account.DefaultPolicy()})
	b.Cleanup(keys.Close)
	key, err := keys.Create(b.Context(), owner, &user, apikey.Wish{Name: "bench"}, idempotency.Key{}, audit.System("bench"))
	if err != nil {
		b.Fatal(err)
	}
	secret, from := string(key.Secret), netip.MustParseAddr("192.0.2.7")
	r.compare("api_key", nanos, "SHA-256 of the secret", oneByOne(b, func() error {
		_ = sha256.Sum256([]byte(secret))
		return nil
	}), oneByOne(b, func() error {
		_, err := keys.Authenticate(b.Context(), secret, from)
		return err
	}))
}

func newAuth(b *testing.B, accounts *account.Service, log *slog.Logger) (*auth.Service, *supabase.Server) {
	b.Helper()
	srv := httptest.NewUnstartedServer(nil)
	url := "http://" + srv.Listener.Addr().String() + "/auth/v1"
	project, err := supabase.New(supabase.Config{
		Issuer: url, JWTSecret: jwtSecret, Mode: supabase.Both, BcryptCost: bcrypt.MinCost, AutoConfirm: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	srv.Config.Handler = project
	srv.Start()
	b.Cleanup(srv.Close)
	s, err := auth.New(auth.Config{URL: url, JWTSecret: jwtSecret, Accounts: accounts, Log: log, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s, project
}

// oneByOne times calls one after the other.
func oneByOne(b *testing.B, f func() error) func() sample {
	return func() sample {
		start := time.Now()
		for range authentications {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		return sample{figure: float64(time.Since(start).Nanoseconds()) / authentications}
	}
}
