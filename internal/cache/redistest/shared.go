package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

const (
	ownerKey = "saaskit:test:owner" // who has a database number
	lease    = 15 * time.Minute     // longer than any test; a crashed one's number is free after it
	wait     = time.Minute
)

// claim takes a database number of a shared server for the test.
func claim(t testing.TB, sharedURL string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for {
		for number := 1; ; number++ {
			claimed, err := claimNumber(ctx, t, sharedURL, number)
			if errors.Is(err, errNoSuchNumber) && number > 1 {
				break // all are taken for now
			}
			if err != nil {
				t.Fatalf("use %s: %v", URLEnv, err)
			}
			if claimed != "" {
				return claimed
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("use %s: no database number became free", URLEnv)
		case <-time.After(50*time.Millisecond + rand.N(50*time.Millisecond)):
		}
	}
}

var errNoSuchNumber = errors.New("the server has no such database number")

// claimNumber returns the URL of one database number, or nothing where another
// test has it.
func claimNumber(ctx context.Context, t testing.TB, sharedURL string, number int) (string, error) {
	option, err := rueidis.ParseURL(sharedURL)
	if err != nil {
		return "", errors.New("it is not a URL of a Redis") // the cause would show a password
	}
	option.SelectDB, option.DisableCache = number, true
	client, err := rueidis.NewClient(option)
	if redisErr, ok := rueidis.IsRedisErr(err); ok && number > 0 {
		return "", errors.Join(errNoSuchNumber, redisErr)
	}
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	set := client.B().Set().Key(ownerKey).Value(t.Name()).Nx().Px(lease).Build()
	err = client.Do(ctx, set).Error()
	if rueidis.IsRedisNil(err) {
		client.Close()
		return "", nil
	}
	if err != nil {
		client.Close()
		return "", fmt.Errorf("claim database number %d: %w", number, err)
	}
	t.Cleanup(func() {
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := client.Do(ctx, client.B().Flushdb().Build()).Error(); err != nil {
			t.Errorf("empty database number %d: %v", number, err)
		}
	})
	return withNumber(sharedURL, number), nil
}

// withNumber returns the server's URL for one of its databases.
func withNumber(sharedURL string, number int) string {
	u, err := url.Parse(sharedURL)
	if err != nil {
		return sharedURL // it was parsed before
	}
	query := u.Query()
	query.Del("db")
	if u.Scheme == "unix" {
		query.Set("db", strconv.Itoa(number))
	} else {
		u.Path = "/" + strconv.Itoa(number)
	}
	u.RawQuery = query.Encode()
	return u.String()
}
