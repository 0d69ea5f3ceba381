package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/postgres"
)

// runKeys manages service keys. It needs Redis too, for a revoked key has to be forgotten by every instance.
func runKeys(ctx context.Context, p process, args []string) error {
	if len(args) == 0 {
		return p.wrongUsage("keys takes create, list or revoke")
	}
	verbs := map[string]func(context.Context, process, *apikey.Service, []string) error{
		"create": createKey, "list": listKeys, "revoke": revokeKey,
	}
	verb, ok := verbs[args[0]]
	if !ok {
		return p.wrongUsage("keys takes create, list or revoke")
	}
	cfg, err := load(p)
	if err != nil {
		return err
	}
	return withKeys(ctx, p, cfg, func(keys *apikey.Service) error { return verb(ctx, p, keys, args[1:]) })
}

func withKeys(ctx context.Context, p process, cfg config.Config, f func(*apikey.Service) error) error {
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	pool, err := postgres.Open(ctx, cfg.DatabaseURL.Reveal(), 0)
	if err != nil {
		return err
	}
	defer pool.Close()
	c, err := cache.Open(ctx, cfg.RedisURL.Reveal(), cfg.RedisPrefix, log)
	if err != nil {
		return err
	}
	defer c.Close()
	keys := apikey.New(apikey.Config{Pool: pool, Cache: c, Log: log, Now: time.Now, Policy: account.DefaultPolicy(), Prefix: cfg.APIKeyPrefix})
	defer keys.Close()
	return f(keys)
}

// createKey prints the secret, and nothing else, on standard output: it can be piped to where it belongs.
func createKey(ctx context.Context, p process, keys *apikey.Service, args []string) error {
	flags := flag.NewFlagSet("keys create", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	service := flags.Bool("service", false, "make a service key, which works for any account (the only kind that is made here)")
	var scopes, ips list
	flags.Var(&scopes, "scope", "what it may do, by comma or repeated: "+strings.Join(apikey.ServiceScopes(), ", "))
	flags.Var(&ips, "ip", "address or network that may use it, by comma or repeated; any where left out")
	name := flags.String("name", "service", "name in lists and in the audit log")
	expires := flags.String("expires", "", "how long it works, such as 90d or 12h; for ever where left out")
	if err := flags.Parse(args); err != nil {
		return errUsage // the flags have said why
	}
	if flags.NArg() > 0 {
		return p.wrongUsage("keys create takes flags only, not " + flags.Arg(0))
	}
	if !*service {
		return p.wrongUsage("users make keys of their account with POST /v1/api-keys; say --service for a service key")
	}
	wish := apikey.Wish{Name: *name, Scopes: scopes, AllowedIPs: ips}
	if *expires != "" {
		d, err := lifetime(*expires)
		if err != nil {
			return err
		}
		at := time.Now().Add(d)
		wish.ExpiresAt = &at
	}
	made, err := keys.CreateService(ctx, wish, audit.Operator("keys create"))
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "Service key %s (%s) with %s. Its secret is shown once:\n", made.Name, made.ID, strings.Join(made.Scopes, ", "))
	fmt.Fprintln(p.stdout, string(made.Secret))
	return nil
}

// lifetime reads a duration that may also be in days.
func lifetime(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no lifetime; write 90d or 12h", text)
	}
	return d, nil
}

func listKeys(ctx context.Context, p process, keys *apikey.Service, args []string) error {
	if len(args) > 0 {
		return p.wrongUsage("keys list takes nothing")
	}
	all, err := keys.ListService(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSTART\tSCOPES\tCREATED\tEXPIRES\tLAST USED")
	for _, k := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Start, strings.Join(k.Scopes, ","),
			k.CreatedAt.Format(time.DateOnly), day(k.ExpiresAt), day(k.LastUsedAt))
	}
	return w.Flush()
}

func day(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Format(time.DateOnly)
}

func revokeKey(ctx context.Context, p process, keys *apikey.Service, args []string) error {
	if len(args) != 1 {
		return p.wrongUsage("keys revoke takes the id of a key")
	}
	id, err := uuid.Parse(args[0])
	if err != nil {
		return fmt.Errorf("%q is not the id of a key; see saaskit keys list", args[0])
	}
	if err := keys.RevokeAny(ctx, id, audit.Operator("keys revoke")); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, "The key is revoked.")
	return nil
}

// A list is a flag that may be given several times, each with several values.
type list []string

// String is the values by comma.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds values.
func (l *list) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*l = append(*l, part)
		}
	}
	return nil
}
