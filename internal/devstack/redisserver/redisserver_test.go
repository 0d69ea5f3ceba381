package redisserver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/redisserver"
)

const patience = 20 * time.Second

// launchEnv makes the test binary start a server, print its process id and stay.
const launchEnv = "REDISSERVER_TEST_LAUNCH"

func TestMain(m *testing.M) {
	if os.Getenv(launchEnv) == "" {
		os.Exit(m.Run())
	}
	co, err := checkout.Here()
	if err != nil {
		panic(err)
	}
	server, err := redisserver.Start(context.Background(), redisserver.Options{Checkout: co})
	if err != nil {
		panic(err)
	}
	fmt.Println(server.PID())
	time.Sleep(time.Minute)
}

func options(t *testing.T) redisserver.Options {
	t.Helper()
	co, err := checkout.Here()
	if err != nil {
		t.Fatal(err)
	}
	return redisserver.Options{Checkout: co, Logf: t.Logf}
}

func start(t *testing.T) *redisserver.Server {
	t.Helper()
	server, err := redisserver.Start(t.Context(), options(t))
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return server
}

// connect makes a client with what the URL says and nothing else, as the
// application does.
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

// The real server tells a client's cache that a key has changed.
func TestClientSideCaching(t *testing.T) {
	t.Parallel()
	server := start(t)
	reader, writer := connect(t, server.URL()), connect(t, server.URL())
	read := func() string {
		value, err := reader.DoCache(t.Context(), reader.B().Get().Key("k").Cache(), time.Minute).ToString()
		if err != nil && !rueidis.IsRedisNil(err) {
			t.Fatalf("read: %v", err)
		}
		return value
	}
	for _, value := range []string{"one", "two"} {
		if err := writer.Do(t.Context(), writer.B().Set().Key("k").Value(value).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		await(t, "the cache to have "+value, func() bool { return read() == value })
	}
}

func TestStopAndRestart(t *testing.T) {
	t.Parallel()
	server := start(t)
	url, pid := server.URL(), server.PID()
	client := connect(t, url)
	if err := client.Do(t.Context(), client.B().Set().Key("k").Value("v").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice does no harm
		if err := server.Stop(); err != nil {
			t.Fatalf("Stop: %v", err)
		}
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Addr()); err == nil {
		conn.Close()
		t.Error("something listens after Stop")
	}
	if syscall.Kill(pid, 0) == nil {
		t.Error("the server runs after Stop")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: %v", err)
	}
	if server.URL() != url {
		t.Errorf("URL after Restart: got %s, want %s", server.URL(), url)
	}
	again := connect(t, url)
	if err := again.Do(t.Context(), again.B().Get().Key("k").Build()).Error(); !rueidis.IsRedisNil(err) {
		t.Errorf("the restarted server is not empty: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	tests := map[string]int{
		"by a program that says nothing": listener.Addr().(*net.TCPAddr).Port,
		"by another Redis":               start(t).Port(),
	}
	for name, port := range tests {
		if err := redisserver.StartOn(t.Context(), options(t), port); !errors.Is(err, redisserver.ErrPortTaken) {
			t.Errorf("%s: got %v, want ErrPortTaken", name, err)
		}
	}
}

func TestKilledLauncher(t *testing.T) {
	t.Parallel()
	launcher := exec.CommandContext(t.Context(), os.Args[0])
	launcher.Env = append(os.Environ(), launchEnv+"=1")
	stdout, err := launcher.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := launcher.Start(); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 20)
	n, err := stdout.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(answer[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if err := launcher.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	launcher.Wait() //nolint:errcheck // it was killed
	await(t, "the server to end", func() bool { return syscall.Kill(pid, 0) != nil })
}

// The URL alone must be enough for a client that knows nothing of miniredis.
func TestMemory(t *testing.T) {
	t.Parallel()
	memory, err := redisserver.StartMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(memory.Stop)
	client := connect(t, memory.URL())

	set := client.B().Set().Key("brief").Value("v").Px(200 * time.Millisecond).Build()
	if err := client.Do(t.Context(), set).Error(); err != nil {
		t.Fatal(err)
	}
	value, err := client.DoCache(t.Context(), client.B().Get().Key("brief").Cache(), time.Minute).ToString()
	if err != nil || value != "v" {
		t.Errorf("DoCache: got %q, %v", value, err)
	}
	await(t, "the key to expire", func() bool {
		return rueidis.IsRedisNil(client.Do(t.Context(), client.B().Get().Key("brief").Build()).Error())
	})

	heard := make(chan string, 1)
	go client.Receive(t.Context(), client.B().Subscribe().Channel("news").Build(), func(m rueidis.PubSubMessage) { //nolint:errcheck // ends with the test
		select {
		case heard <- m.Message:
		default: // one is enough
		}
	})
	// Until the subscription is there, messages reach nobody.
	await(t, "a message", func() bool {
		publish := client.B().Publish().Channel("news").Message("hello").Build()
		if err := client.Do(t.Context(), publish).Error(); err != nil {
			t.Fatalf("command beside a subscription: %v", err)
		}
		return len(heard) > 0
	})
	memory.Stop()
	memory.Stop() // twice does no harm
}

func TestMissing(t *testing.T) {
	t.Parallel()
	plan, err := os.ReadFile(filepath.Join("testdata", "plan.txt"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"libjemalloc2", "redis-tools", "redis-server"}
	if got := redisserver.Missing(string(plan)); !slices.Equal(got, want) {
		t.Errorf("packages: got %v, want %v", got, want)
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
