package redistest_test

import (
	"testing"
	"time"

	"github.com/redis/rueidis"

	"example.com/saaskit/internal/cache/redistest"
)

func connect(t *testing.T, url string) rueidis.Client {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(client.Close)
	return client
}

// key is the one that all tests use.
const key = "k"

func set(t *testing.T, url string) {
	t.Helper()
	client := connect(t, url)
	if err := client.Do(t.Context(), client.B().Set().Key(key).Value("v").Build()).Error(); err != nil {
		t.Fatalf("set: %v", err)
	}
}

func has(t *testing.T, url string) bool {
	t.Helper()
	client := connect(t, url)
	n, err := client.Do(t.Context(), client.B().Exists().Key(key).Build()).AsInt64()
	if err != nil {
		t.Fatalf("exists: %v", err)
	}
	return n == 1
}

func TestNewIsOwn(t *testing.T) {
	t.Parallel()
	one, other := redistest.New(t), redistest.New(t)
	set(t, one)
	if has(t, other) {
		t.Error("two calls share their keys")
	}
}

func TestStopAndRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	set(t, server.URL())
	server.Stop()
	option, err := rueidis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	if client, err := rueidis.NewClient(option); err == nil {
		client.Close()
		t.Error("Redis answers after Stop")
	}
	server.Restart()
	if has(t, server.URL()) {
		t.Error("the restarted server is not empty")
	}
}

func TestSharedServer(t *testing.T) {
	t.Parallel()
	shared := redistest.Start(t).URL()
	var first string
	t.Run("holder", func(t *testing.T) {
		first = redistest.Claim(t, shared)
		second := redistest.Claim(t, shared)
		if first == second || first == shared {
			t.Fatalf("claims share a database: %s, %s", first, second)
		}
		set(t, first)
		if has(t, second) {
			t.Error("claims share their keys")
		}
	})
	if again := redistest.Claim(t, shared); again != first {
		t.Errorf("a number is not given back: got %s, want %s", again, first)
	}
	if has(t, first) {
		t.Error("a database is handed on with keys in it")
	}
}

// There are 16 numbers; who comes later waits for one.
func TestSharedServerIsFull(t *testing.T) {
	t.Parallel()
	shared := redistest.Start(t).URL()
	got, outer := make(chan string, 1), t
	t.Run("holders", func(t *testing.T) {
		const numbers = 15 // all but 0
		for range numbers {
			redistest.Claim(t, shared)
		}
		go func() { got <- redistest.Claim(outer, shared) }()
		select {
		case url := <-got:
			t.Errorf("a sixteenth claim succeeds: %s", url)
		case <-time.After(200 * time.Millisecond):
		}
	})
	select {
	case <-got:
	case <-time.After(20 * time.Second):
		t.Error("the waiting claim got nothing")
	}
}
